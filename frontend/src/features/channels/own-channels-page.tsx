import { Trans, useLingui } from '@lingui/react/macro'
import { useInfiniteQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { ChevronRight, Plus, Tv } from 'lucide-react'
import { Avatar } from '@/ui/avatar'
import { ButtonLook } from '@/ui/button'
import { Empty } from '@/ui/empty'
import { Failed } from '@/ui/failed'
import { LiveBadge } from '@/ui/live-badge'
import { LoadMore } from '@/ui/load-more'
import { Skeleton } from '@/ui/skeleton'
import { channelsQuery, type Channel } from './queries'
import { StandingBadge } from './standing-words'
import { VisibilityBadge } from './visibility-words'

export function OwnChannelsPage() {
  const { t } = useLingui()
  const own = useInfiniteQuery({ ...channelsQuery({ mine: true }), refetchInterval: 10_000 })
  const channels = own.data?.pages.flatMap((page) => page.items) ?? []

  return (
    <div className="page max-w-[64rem] py-10 sm:py-14">
      <title>{t`Your channels · Weir`}</title>
      <div className="mb-6 flex flex-wrap items-center justify-between gap-4">
        <h1 className="text-xl font-semibold text-text">
          <Trans>Your channels</Trans>
        </h1>
        {channels.length > 0 && <NewChannel />}
      </div>
      {own.isPending ? (
        <div role="status" aria-label={t`Loading your channels`} className="flex flex-col gap-3">
          {[0, 1, 2].map((index) => (
            <Skeleton key={index} className="h-20 !rounded-lg" />
          ))}
        </div>
      ) : own.isError && channels.length === 0 ? (
        <Failed error={own.error} onRetry={() => void own.refetch()} isRetrying={own.isFetching} />
      ) : channels.length === 0 ? (
        <Empty icon={<Tv />} title={<Trans>You have no channel yet</Trans>} action={<NewChannel />}>
          <Trans>A channel gives you an address to share and a key for OBS.</Trans>
        </Empty>
      ) : (
        <ul className="flex flex-col gap-3">
          {channels.map((channel) => (
            <li key={channel.id}>
              <OwnChannel channel={channel} />
            </li>
          ))}
        </ul>
      )}
      {own.hasNextPage && (
        <LoadMore
          isBusy={own.isFetchingNextPage}
          hasFailed={own.isFetchNextPageError}
          onMore={() => void own.fetchNextPage()}
        />
      )}
    </div>
  )
}

function NewChannel() {
  return (
    <ButtonLook kind="primary">
      <Link to="/new-channel">
        <Plus aria-hidden className="size-4" />
        <Trans>Create a channel</Trans>
      </Link>
    </ButtonLook>
  )
}

function OwnChannel({ channel }: { channel: Channel }) {
  const { handle } = channel
  return (
    <Link
      to="/dashboard/$handle"
      params={{ handle }}
      className="group flex items-center gap-4 rounded-lg border bg-raised p-4 transition-colors hover:border-line-strong max-sm:flex-wrap max-sm:gap-y-2"
    >
      <Avatar name={handle} className="size-11" />
      <span className="min-w-0 grow basis-0">
        <span className="block truncate text-base font-semibold text-text">{channel.title}</span>
        <span className="block truncate text-sm text-faint">
          {globalThis.location.host}/{handle}
        </span>
      </span>
      {/* On a phone below the title, which needs the room. */}
      <span className="flex shrink-0 items-center gap-3 max-sm:order-last max-sm:w-full max-sm:pl-15">
        <StandingBadge standing={channel.standing} />
        <VisibilityBadge visibility={channel.visibility} />
        {channel.is_live ? (
          <LiveBadge />
        ) : (
          <span className="rounded-sm border px-1.5 py-0.5 text-xs text-faint">
            <Trans>Offline</Trans>
          </span>
        )}
      </span>
      <ChevronRight aria-hidden className="size-5 shrink-0 text-faint group-hover:text-text" />
    </Link>
  )
}
