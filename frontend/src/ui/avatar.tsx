import { classes } from './classes'

/** The first letter, until channels have pictures. */
export function Avatar({ name, className }: { name: string; className?: string }) {
  const letter = (Array.from(name.trim())[0] ?? '·').toUpperCase()
  return (
    <span
      aria-hidden
      className={classes(
        'inline-flex size-10 shrink-0 items-center justify-center rounded-full bg-accent-wash text-base font-semibold text-accent-text select-none',
        className,
      )}
    >
      {letter}
    </span>
  )
}
