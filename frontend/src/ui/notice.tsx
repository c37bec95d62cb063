import { CircleAlert, Info, TriangleAlert } from 'lucide-react'
import type { ReactNode } from 'react'
import { classes } from './classes'

const tones = {
  info: { look: 'border-accent-text/35 bg-accent-wash', icon: <Info className="text-accent-text" /> },
  warning: { look: 'border-warning/40 bg-warning-wash', icon: <TriangleAlert className="text-warning" /> },
  danger: { look: 'border-danger/45 bg-danger-wash', icon: <CircleAlert className="text-danger" /> },
}

/** A remark in the flow of the page: what is so, and what can be done. */
export function Notice({
  tone,
  title,
  role,
  children,
}: {
  tone: keyof typeof tones
  title?: ReactNode
  role?: 'alert' | 'status'
  children?: ReactNode
}) {
  return (
    <div role={role} className={classes('flex gap-3 rounded-sm border px-3.5 py-3', tones[tone].look)}>
      <span aria-hidden className="mt-px shrink-0 [&>svg]:size-5">
        {tones[tone].icon}
      </span>
      <div className="min-w-0 grow text-sm text-soft">
        {title !== undefined && <p className="font-medium text-text">{title}</p>}
        {children}
      </div>
    </div>
  )
}

/** What is wrong, and under it what to do: the first sentence says the one, the rest the other. */
export function TextNotice({ tone, text }: { tone: keyof typeof tones; text: string }) {
  const [what, ...then] = text.split(/(?<=\.)\s+/)
  return (
    <Notice tone={tone} title={what}>
      {then.length > 0 && <p className="mt-1">{then.join(' ')}</p>}
    </Notice>
  )
}
