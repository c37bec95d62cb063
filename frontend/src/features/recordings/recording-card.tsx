import { Trans } from '@lingui/react/macro'
import { Link } from '@tanstack/react-router'
import { Thumbnail } from '@/features/streams/thumbnail'
import { Ago } from '@/ui/clock'
import { Skeleton } from '@/ui/skeleton'
import type { Recording } from './queries'
import { clockText } from './words'

export function RecordingCard({
  recording,
  heading: Heading = 'h3',
}: {
  recording: Recording
  heading?: 'h2' | 'h3'
}) {
  const { handle } = recording.channel
  return (
    <article className="group relative">
      <div className="relative overflow-hidden rounded-lg">
        <Thumbnail
          url={recording.thumbnail_url}
          isLive={false}
          className="transition-transform group-hover:scale-[1.015]"
        />
        {recording.duration_ms !== null && (
          <span className="absolute right-2.5 bottom-2.5 rounded-sm bg-picture-veil px-2 py-0.5 text-xs font-medium text-on-picture tabular-nums">
            <span className="sr-only">
              <Trans>Lasts</Trans>{' '}
            </span>
            {clockText(recording.duration_ms)}
          </span>
        )}
      </div>
      <Heading className="mt-3 line-clamp-2 text-sm leading-snug font-semibold break-words text-text group-hover:text-accent-text">
        {/* The link covers the whole card. */}
        <Link
          to="/$handle/videos/$id"
          params={{ handle, id: recording.id }}
          className="outline-offset-4 after:absolute after:inset-0 after:rounded-lg"
        >
          {recording.title}
        </Link>
      </Heading>
      <p className="mt-0.5 text-sm text-faint">
        <Ago at={recording.started_at} />
      </p>
    </article>
  )
}

export function RecordingCardSkeleton() {
  return (
    <div aria-hidden>
      <Skeleton className="aspect-video !rounded-lg" />
      <Skeleton className="mt-3 h-4 w-4/5" />
      <Skeleton className="mt-2 h-3.5 w-2/5" />
    </div>
  )
}
