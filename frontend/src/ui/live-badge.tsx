import { Trans } from '@lingui/react/macro'
import { classes } from './classes'

/** The one thing that is coral. */
export function LiveBadge({ className }: { className?: string }) {
  return (
    <span
      className={classes(
        'inline-flex h-6 items-center gap-1.5 rounded-sm bg-live px-2 text-xs leading-none font-bold tracking-wide text-on-live uppercase',
        className,
      )}
    >
      <span aria-hidden className="size-1.5 animate-pulse-live rounded-full bg-current" />
      <Trans context="badge">Live</Trans>
    </span>
  )
}
