import { Trans, useLingui } from '@lingui/react/macro'
import { useInfiniteQuery } from '@tanstack/react-query'
import { Link, useParams } from '@tanstack/react-router'
import { ArrowLeft, Film } from 'lucide-react'
import { ProblemError } from '@/api/problem'
import { NoSuchChannel } from '@/features/channels/no-such-channel'
import { ButtonLook } from '@/ui/button'
import { Empty } from '@/ui/empty'
import { Failed } from '@/ui/failed'
import { LoadMore } from '@/ui/load-more'
import { recordingsQuery } from './queries'
import { RecordingCard, RecordingCardSkeleton } from './recording-card'

/** All that a channel has recorded and shows. */
export function VideosPage() {
  const { t } = useLingui()
  const handle = useParams({ from: '/$handle/videos' }).handle.toLowerCase()
  const recordings = useInfiniteQuery(recordingsQuery(handle))
  const ready = (recordings.data?.pages.flatMap((page) => page.items) ?? []).filter(
    ({ status, visibility }) => status === 'ready' && visibility === 'published',
  )
  const { error } = recordings
  if (error instanceof ProblemError && (error.status === 404 || error.status === 422)) {
    return <NoSuchChannel handle={handle} />
  }
  return (
    <div className="page pt-8 pb-20 sm:pt-10">
      <title>{t`Videos of ${handle} · Weir`}</title>
      <Link
        to="/$handle"
        params={{ handle }}
        className="mb-2 inline-flex items-center gap-1.5 text-sm text-soft hover:text-text"
      >
        <ArrowLeft aria-hidden className="size-4" />
        {handle}
      </Link>
      <h1 className="mb-6 text-xl font-semibold text-text">
        <Trans>Videos</Trans>
      </h1>
      {recordings.isPending ? (
        <div role="status" aria-label={t`Loading videos`} className="card-grid">
          {Array.from({ length: 8 }, (_, index) => (
            <RecordingCardSkeleton key={index} />
          ))}
        </div>
      ) : recordings.isError && ready.length === 0 ? (
        <Failed
          error={recordings.error}
          onRetry={() => void recordings.refetch()}
          isRetrying={recordings.isFetching}
        />
      ) : ready.length === 0 && !recordings.hasNextPage ? (
        <Empty
          icon={<Film />}
          title={<Trans>No videos yet</Trans>}
          action={
            <ButtonLook>
              <Link to="/$handle" params={{ handle }}>
                <Trans>To the channel</Trans>
              </Link>
            </ButtonLook>
          }
        >
          <Trans>Streams that this channel records appear here when they are over.</Trans>
        </Empty>
      ) : (
        <ul className="card-grid">
          {ready.map((recording) => (
            <li key={recording.id}>
              <RecordingCard recording={recording} heading="h2" />
            </li>
          ))}
        </ul>
      )}
      {recordings.hasNextPage && (
        <LoadMore
          isBusy={recordings.isFetchingNextPage}
          hasFailed={recordings.isFetchNextPageError}
          onMore={() => void recordings.fetchNextPage()}
        />
      )}
    </div>
  )
}
