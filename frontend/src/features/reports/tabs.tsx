import type { ReactNode } from 'react'
import { classes } from '@/ui/classes'

/** A row of which one is shown; the list below is another for each. */
export function Tabs<Value extends string>({
  label,
  value,
  onChange,
  tabs,
}: {
  label: string
  value: Value
  onChange: (value: Value) => void
  tabs: readonly { value: Value; text: ReactNode }[]
}) {
  return (
    <div role="group" aria-label={label} className="my-5 flex flex-wrap gap-1">
      {tabs.map((tab) => (
        <button
          key={tab.value}
          type="button"
          aria-pressed={tab.value === value}
          onClick={() => onChange(tab.value)}
          className={classes(
            'h-9 rounded-sm px-2 text-sm font-medium transition-colors sm:px-3',
            tab.value === value
              ? 'bg-accent-wash text-text'
              : 'text-soft hover:bg-raised-high hover:text-text',
          )}
        >
          {tab.text}
        </button>
      ))}
    </div>
  )
}
