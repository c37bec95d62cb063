import { Trans } from '@lingui/react/macro'
import { EyeOff, Globe, Lock } from 'lucide-react'
import type { ReactNode } from 'react'
import { classes } from '@/ui/classes'
import type { Channel } from './queries'

export type Visibility = Channel['visibility']

export const visibilities: readonly Visibility[] = ['public', 'unlisted', 'private']

export const visibilityWords: Record<Visibility, { name: ReactNode; meaning: ReactNode; icon: ReactNode }> = {
  public: {
    name: <Trans context="visibility">Public</Trans>,
    meaning: <Trans>Everybody can watch, and finds the channel on the start page.</Trans>,
    icon: <Globe />,
  },
  unlisted: {
    name: <Trans context="visibility">Unlisted</Trans>,
    meaning: <Trans>Whoever knows the address can watch. The channel is in no list.</Trans>,
    icon: <EyeOff />,
  },
  private: {
    name: <Trans context="visibility">Private</Trans>,
    meaning: (
      <Trans>
        Only you, your team, administrators and those whom you invite can watch. For everybody else there is
        no such channel.
      </Trans>
    ),
    icon: <Lock />,
  },
}

/** Says that not everybody sees the channel; nothing for a public one. */
export function VisibilityBadge({ visibility, className }: { visibility: Visibility; className?: string }) {
  if (visibility === 'public') return null
  const { name, icon } = visibilityWords[visibility]
  return (
    <span
      className={classes(
        'inline-flex h-6 items-center gap-1.5 rounded-sm border border-line-strong/70 px-2 text-xs leading-none font-medium text-soft [&>svg]:size-3.5',
        className,
      )}
    >
      {icon}
      {name}
    </span>
  )
}
