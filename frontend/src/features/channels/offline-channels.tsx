import { Trans, useLingui } from '@lingui/react/macro'
import { useInfiniteQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { Avatar } from '@/ui/avatar'
import { Failed } from '@/ui/failed'
import { LoadMore } from '@/ui/load-more'
import { Skeleton } from '@/ui/skeleton'
import { channelsQuery, type Channel } from './queries'

/** The channels that are not live, below those that are. Nothing at all while there are none. */
export function OfflineChannels() {
  const { t } = useLingui()
  const offline = useInfiniteQuery({ ...channelsQuery({ live: false }), refetchInterval: 30_000 })
  const channels = offline.data?.pages.flatMap((page) => page.items) ?? []
  if (offline.isSuccess && channels.length === 0) return null

  return (
    <section aria-labelledby="offline-heading" aria-busy={offline.isPending} className="mt-14">
      <h2 id="offline-heading" className="mb-4 text-lg font-semibold text-text">
        <Trans>Offline channels</Trans>
      </h2>
      {offline.isPending ? (
        <div role="status" aria-label={t`Loading channels`} className={grid}>
          {Array.from({ length: 6 }, (_, index) => (
            <Skeleton key={index} className="h-[4.5rem] !rounded-lg" />
          ))}
        </div>
      ) : offline.isError && channels.length === 0 ? (
        <Failed
          error={offline.error}
          onRetry={() => void offline.refetch()}
          isRetrying={offline.isFetching}
        />
      ) : (
        <ul className={grid}>
          {channels.map((channel) => (
            <li key={channel.id}>
              <OfflineChannel channel={channel} />
            </li>
          ))}
        </ul>
      )}
      {offline.hasNextPage && (
        <LoadMore
          isBusy={offline.isFetchingNextPage}
          hasFailed={offline.isFetchNextPageError}
          onMore={() => void offline.fetchNextPage()}
        />
      )}
    </section>
  )
}

const grid = 'grid grid-cols-[repeat(auto-fill,minmax(min(100%,18.5rem),1fr))] gap-3'

function OfflineChannel({ channel }: { channel: Channel }) {
  const { handle } = channel
  return (
    <Link
      to="/$handle"
      params={{ handle }}
      className="group flex items-center gap-3 rounded-lg border p-3.5 transition-colors hover:border-line-strong hover:bg-raised"
    >
      <Avatar name={handle} src={channel.owner.avatar?.small_url} className="!bg-raised-high !text-faint" />
      <span className="min-w-0 grow">
        <span className="block truncate text-sm font-semibold text-text">{channel.title}</span>
        <span className="block truncate text-sm text-faint">{handle}</span>
      </span>
      <span className="shrink-0 rounded-sm border px-1.5 py-0.5 text-xs text-faint">
        <Trans>Offline</Trans>
      </span>
    </Link>
  )
}
