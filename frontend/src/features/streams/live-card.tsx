import { Trans } from '@lingui/react/macro'
import { Link } from '@tanstack/react-router'
import { Avatar } from '@/ui/avatar'
import { Uptime } from '@/ui/clock'
import { LiveBadge } from '@/ui/live-badge'
import { Skeleton } from '@/ui/skeleton'
import type { Stream } from './queries'
import { Thumbnail } from './thumbnail'

export function LiveCard({
  stream,
  isFirst = false,
  sizes,
  heading: Heading = 'h2',
}: {
  stream: Stream
  isFirst?: boolean
  /** How wide its picture is shown, where it is not one of many. */
  sizes?: string
  /** Where the card stands among the headings of its page. */
  heading?: 'h2' | 'h3'
}) {
  const { handle } = stream.channel
  return (
    <article className="group relative">
      <div className="relative overflow-hidden rounded-lg">
        <Thumbnail
          url={stream.thumbnail_url}
          isLive
          isFirst={isFirst}
          sizes={sizes}
          className="transition-transform group-hover:scale-[1.015]"
        />
        <LiveBadge className="absolute top-2.5 left-2.5" />
        {stream.video === null && (
          <span className="absolute bottom-2.5 left-2.5 rounded-sm bg-picture-veil px-2 py-0.5 text-xs font-medium text-on-picture">
            <Trans>Sound only</Trans>
          </span>
        )}
        <span className="absolute right-2.5 bottom-2.5 rounded-sm bg-picture-veil px-2 py-0.5 text-xs font-medium text-on-picture">
          <span className="sr-only">
            <Trans>Live for</Trans>{' '}
          </span>
          <Uptime since={stream.started_at} />
        </span>
      </div>
      <div className="mt-3 flex gap-3">
        <Avatar name={handle} className="size-9 text-sm" />
        <div className="min-w-0">
          <Heading className="line-clamp-2 text-sm leading-snug font-semibold break-words text-text group-hover:text-accent-text">
            {/* The link covers the whole card. */}
            <Link
              to="/$handle"
              params={{ handle }}
              className="outline-offset-4 after:absolute after:inset-0 after:rounded-lg"
            >
              {stream.title}
            </Link>
          </Heading>
          <p className="mt-0.5 truncate text-sm text-faint">{handle}</p>
        </div>
      </div>
    </article>
  )
}

export function LiveCardSkeleton() {
  return (
    <div aria-hidden>
      <Skeleton className="aspect-video !rounded-lg" />
      <div className="mt-3 flex gap-3">
        <Skeleton className="size-9 shrink-0 !rounded-full" />
        <div className="flex grow flex-col gap-2 pt-1">
          <Skeleton className="h-4 w-4/5" />
          <Skeleton className="h-3.5 w-2/5" />
        </div>
      </div>
    </div>
  )
}
