import { Plural, Trans, useLingui } from '@lingui/react/macro'
import { useInfiniteQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useSession } from '@/features/accounts/session'
import { OfflineChannels } from '@/features/channels/offline-channels'
import { ButtonLook } from '@/ui/button'
import { Failed } from '@/ui/failed'
import { LoadMore } from '@/ui/load-more'
import { River } from '@/ui/river'
import { FeaturedCard } from './featured-card'
import { LiveCard, LiveCardSkeleton } from './live-card'
import { liveStreamsQuery } from './queries'

const refreshMs = 10_000

export function HomePage() {
  const { t } = useLingui()
  const live = useInfiniteQuery({ ...liveStreamsQuery(), refetchInterval: refreshMs })
  const streams = live.data?.pages.flatMap((page) => page.items) ?? []
  const count = streams.length

  return (
    <div className="page pt-8 pb-20 sm:pt-10">
      <title>Weir</title>
      <section aria-labelledby="live-heading" aria-busy={live.isPending}>
        <div className="mb-6 flex items-baseline gap-3">
          <h1 id="live-heading" className="text-xl font-semibold text-text">
            <Trans>Live now</Trans>
          </h1>
          {count > 0 && (
            <p className="text-sm text-faint tabular-nums">
              {live.hasNextPage ? (
                <Plural value={count} one="more than # stream" other="more than # streams" />
              ) : (
                <Plural value={count} one="# stream" other="# streams" />
              )}
            </p>
          )}
        </div>
        {live.isPending ? (
          <div role="status" aria-label={t`Loading what is live`} className="card-grid">
            {Array.from({ length: 4 }, (_, index) => (
              <LiveCardSkeleton key={index} />
            ))}
          </div>
        ) : live.isError && count === 0 ? (
          <Failed error={live.error} onRetry={() => void live.refetch()} isRetrying={live.isFetching} />
        ) : count === 0 ? (
          <NobodyLive />
        ) : count === 1 && streams[0] !== undefined ? (
          <FeaturedCard stream={streams[0]} />
        ) : (
          <ul className={count <= 3 ? 'card-grid-large' : 'card-grid'}>
            {streams.map((stream, index) => (
              <li key={stream.id}>
                <LiveCard
                  stream={stream}
                  isFirst={index < 2}
                  sizes={count <= 3 ? '(min-width: 40rem) 36rem, 100vw' : undefined}
                />
              </li>
            ))}
          </ul>
        )}
        {live.hasNextPage && (
          <LoadMore
            isBusy={live.isFetchingNextPage}
            hasFailed={live.isFetchNextPageError}
            onMore={() => void live.fetchNextPage()}
          />
        )}
      </section>
      <OfflineChannels />
    </div>
  )
}

function NobodyLive() {
  const state = useSession()
  return (
    <div className="relative overflow-hidden rounded-lg border bg-raised">
      <River className="absolute inset-y-0 right-0 hidden h-full w-3/5 mask-l-from-30% lg:block" />
      <div className="relative flex max-w-xl flex-col items-start px-6 py-14 sm:px-12 sm:py-24">
        <p className="text-xl font-semibold text-text">
          <Trans>Nobody is live right now</Trans>
        </p>
        <p className="mt-3 mb-8 max-w-sm text-base text-soft">
          <Trans>As soon as somebody starts a stream, it appears here by itself.</Trans>
        </p>
        <ButtonLook kind="primary" size="large">
          {state.status === 'signed-in' ? (
            <Link to="/dashboard">
              <Trans>Go live</Trans>
            </Link>
          ) : (
            <Link to="/register">
              <Trans>Make an account</Trans>
            </Link>
          )}
        </ButtonLook>
      </div>
    </div>
  )
}
