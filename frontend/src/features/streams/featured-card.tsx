import { Trans } from '@lingui/react/macro'
import { Link } from '@tanstack/react-router'
import { Play } from 'lucide-react'
import { Avatar } from '@/ui/avatar'
import { ButtonLook } from '@/ui/button'
import { Uptime } from '@/ui/clock'
import { LiveBadge } from '@/ui/live-badge'
import type { Stream } from './queries'
import { Thumbnail } from './thumbnail'

/** The only live stream gets the room that a grid of one would leave empty. */
export function FeaturedCard({ stream }: { stream: Stream }) {
  const { handle } = stream.channel
  return (
    <article className="group relative grid overflow-hidden rounded-lg border bg-raised lg:grid-cols-[minmax(0,1.7fr)_minmax(18rem,1fr)]">
      <Thumbnail url={stream.thumbnail_url} isLive isFirst sizes="(min-width: 64rem) 60vw, 100vw" />
      <div className="flex flex-col justify-end gap-5 p-5 sm:p-8">
        <p className="flex items-center gap-3 text-sm text-faint">
          <LiveBadge />
          <span>
            <span className="sr-only">
              <Trans>Live for</Trans>{' '}
            </span>
            <Uptime since={stream.started_at} />
          </span>
          {stream.video === null && (
            <span className="rounded-sm border px-2 py-0.5 text-xs">
              <Trans>Sound only</Trans>
            </span>
          )}
        </p>
        <div>
          <h2 className="line-clamp-3 text-xl font-semibold break-words text-text">
            <Link to="/$handle" params={{ handle }} className="after:absolute after:inset-0 after:rounded-lg">
              {stream.title}
            </Link>
          </h2>
          <p className="mt-3 flex items-center gap-2.5 text-sm text-soft">
            <Avatar name={handle} className="size-8 text-sm" />
            {handle}
          </p>
        </div>
        <ButtonLook kind="primary" size="large" className="self-start group-hover:bg-accent-strong">
          <span aria-hidden>
            <Play className="size-4 fill-current" />
            <Trans>Watch</Trans>
          </span>
        </ButtonLook>
      </div>
    </article>
  )
}
