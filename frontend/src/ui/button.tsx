import { Slot } from 'radix-ui'
import type { ComponentProps, ReactNode } from 'react'
import { classes } from './classes'
import { Spinner } from './spinner'

type Kind = 'primary' | 'quiet' | 'bare' | 'danger'

interface ButtonProps extends Omit<ComponentProps<'button'>, 'children'> {
  kind?: Kind
  size?: 'medium' | 'large'
  /** Shows that the work goes on, and keeps a second press from starting it again. */
  isBusy?: boolean
  icon?: ReactNode
  children: ReactNode
}

const kinds: Record<Kind, string> = {
  primary: 'bg-accent text-on-accent font-semibold hover:bg-accent-strong',
  quiet: 'border border-line-strong/60 bg-raised-high text-text font-medium hover:border-line-strong',
  bare: 'text-soft font-medium hover:bg-raised-high hover:text-text',
  danger: 'border border-danger/50 text-danger font-medium hover:bg-danger-wash',
}

const frame =
  'inline-flex items-center justify-center gap-2 rounded-sm text-sm whitespace-nowrap transition-colors select-none disabled:opacity-55'

function look(kind: Kind, size: 'medium' | 'large', className?: string): string {
  return classes(frame, size === 'large' ? 'h-11 px-5' : 'h-10 px-4', kinds[kind], className)
}

export function Button({
  kind = 'quiet',
  size = 'medium',
  isBusy,
  icon,
  className,
  children,
  ...rest
}: ButtonProps) {
  return (
    <button
      type="button"
      {...rest}
      disabled={rest.disabled ?? isBusy}
      aria-busy={isBusy}
      className={look(kind, size, className)}
    >
      {isBusy ? <Spinner /> : icon}
      {children}
    </button>
  )
}

/** Gives a link the look of a button: `<ButtonLook><Link …/></ButtonLook>`. */
export function ButtonLook({
  kind = 'quiet',
  size = 'medium',
  className,
  children,
}: {
  kind?: Kind
  size?: 'medium' | 'large'
  className?: string
  children: ReactNode
}) {
  return <Slot.Root className={look(kind, size, className)}>{children}</Slot.Root>
}

interface IconButtonProps extends Omit<ComponentProps<'button'>, 'children' | 'aria-label'> {
  label: string
  children: ReactNode
}

/** A button that shows only an icon; its label is what is read out and shown on hover. */
export function IconButton({ label, className, children, ...rest }: IconButtonProps) {
  return (
    <button
      type="button"
      aria-label={label}
      title={label}
      {...rest}
      className={classes(
        'inline-flex size-10 shrink-0 items-center justify-center rounded-sm text-soft transition-colors hover:bg-raised-high hover:text-text disabled:opacity-55',
        className,
      )}
    >
      {children}
    </button>
  )
}
