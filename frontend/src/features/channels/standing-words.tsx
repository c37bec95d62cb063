import { Trans } from '@lingui/react/macro'
import type { ReactNode } from 'react'
import { classes } from '@/ui/classes'
import type { Standing } from './standing'

export const roleWords: Record<Exclude<Standing, 'owner'>, { name: ReactNode; meaning: ReactNode }> = {
  moderator: {
    name: <Trans context="role">Moderator</Trans>,
    meaning: <Trans>Sees the channel while it is private, and how the stream arrives.</Trans>,
  },
  editor: {
    name: <Trans context="role">Editor</Trans>,
    meaning: (
      <Trans>
        Besides, changes title and description, switches recording on and off, and names, publishes and
        downloads videos. Does not delete them, and does not see the stream key.
      </Trans>
    ),
  },
}

/** Says what one is to somebody else's channel; nothing for one's own. */
export function StandingBadge({ standing, className }: { standing: Standing | null; className?: string }) {
  if (standing === null || standing === 'owner') return null
  return (
    <span
      className={classes(
        'inline-flex h-6 items-center rounded-sm bg-accent-wash px-2 text-xs leading-none font-medium text-accent-text',
        className,
      )}
    >
      {roleWords[standing].name}
    </span>
  )
}
