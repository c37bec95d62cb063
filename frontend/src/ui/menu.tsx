import { Check } from 'lucide-react'
import { DropdownMenu } from 'radix-ui'
import type { ComponentProps, ReactNode } from 'react'
import { classes } from './classes'

const surface =
  'z-50 min-w-52 rounded-lg border border-line bg-raised-high p-1.5 text-sm text-text animate-rise max-h-[var(--radix-dropdown-menu-content-available-height)] overflow-y-auto'
const row =
  'flex min-h-10 w-full cursor-pointer items-center gap-3 rounded-sm px-3 py-2 text-left outline-none select-none data-highlighted:bg-accent-wash data-highlighted:text-text [&>svg]:size-[1.125rem] [&>svg]:text-faint'

/** Not modal: the page keeps its scroll bar, and nothing jumps. */
export function Menu(props: ComponentProps<typeof DropdownMenu.Root>) {
  return <DropdownMenu.Root modal={false} {...props} />
}
export const MenuTrigger = DropdownMenu.Trigger

export function MenuContent({
  container,
  ...rest
}: ComponentProps<typeof DropdownMenu.Content> & { container?: HTMLElement | null }) {
  return (
    <DropdownMenu.Portal container={container}>
      <DropdownMenu.Content
        align="end"
        sideOffset={8}
        collisionPadding={12}
        {...rest}
        className={classes(surface, rest.className)}
      />
    </DropdownMenu.Portal>
  )
}

export function MenuItem({ className, ...rest }: ComponentProps<typeof DropdownMenu.Item>) {
  return <DropdownMenu.Item {...rest} className={classes(row, className)} />
}

export function MenuSeparator() {
  return <DropdownMenu.Separator className="my-1.5 h-px bg-line" />
}

/** One choice of several, the present one ticked. */
export function MenuChoice<Value extends string>({
  label,
  value,
  onChoose,
  choices,
}: {
  label: string
  value: Value
  onChoose: (value: Value) => void
  choices: { value: Value; text: ReactNode; lang?: string }[]
}) {
  return (
    <DropdownMenu.RadioGroup
      value={value}
      onValueChange={(next) => onChoose(next as Value)}
      aria-label={label}
    >
      <DropdownMenu.Label className="px-3 pt-2 pb-1 text-xs font-medium text-faint">
        {label}
      </DropdownMenu.Label>
      {choices.map((choice) => (
        <DropdownMenu.RadioItem key={choice.value} value={choice.value} className={row} lang={choice.lang}>
          <span className="grow">{choice.text}</span>
          <DropdownMenu.ItemIndicator>
            <Check aria-hidden className="size-4 text-accent-text" />
          </DropdownMenu.ItemIndicator>
        </DropdownMenu.RadioItem>
      ))}
    </DropdownMenu.RadioGroup>
  )
}
