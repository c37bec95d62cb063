import { Trans, useLingui } from '@lingui/react/macro'
import { useQuery } from '@tanstack/react-query'
import { Link, useParams } from '@tanstack/react-router'
import { LayoutDashboard } from 'lucide-react'
import { useEffect, useState } from 'react'
import { api } from '@/api/client'
import { ownAddressOrNull } from '@/api/own-address'
import { ProblemError } from '@/api/problem'
import { useSession } from '@/features/accounts/session'
import { ChannelVideos } from '@/features/recordings/channel-videos'
import { ReportButton, type Reportable } from '@/features/reports/report-button'
import { LatePlayer } from '@/features/streams/late-player'
import { OtherLive } from '@/features/streams/other-live'
import type { SourceState } from '@/features/streams/player/source-state'
import { Avatar } from '@/ui/avatar'
import { ButtonLook } from '@/ui/button'
import { Uptime } from '@/ui/clock'
import { classes } from '@/ui/classes'
import { Failed } from '@/ui/failed'
import { LiveBadge } from '@/ui/live-badge'
import { Skeleton } from '@/ui/skeleton'
import { NoSuchChannel } from './no-such-channel'
import { OfflineStage } from './offline-stage'
import { channelQuery, type Channel } from './queries'
import { usePlaybackAddress } from './playback-address'
import { ShareButton } from './share-button'
import { useTheatre } from './theatre'
import { VisibilityBadge } from './visibility-words'

const whileLiveMs = 5000
const soonMs = 2000
const laterMs = 6000
/** After an interruption, or on a page just opened, the stream may start any moment. */
const eagerForMs = 10 * 60_000

export function ChannelPage() {
  const { t } = useLingui()
  const handle = useParams({ from: '/$handle' }).handle.toLowerCase()
  return <Watch key={handle} handle={handle} loadingLabel={t`Loading the channel`} />
}

function Watch({ handle, loadingLabel }: { handle: string; loadingLabel: string }) {
  const [playing, setPlaying] = useState<SourceState | null>(null)
  const [eagerSince, setEagerSince] = useState(() => Date.now())
  const channel = useQuery({
    ...channelQuery(handle),
    // Until the server can tell by itself, the page asks; not at all while out of sight.
    refetchInterval: ({ state }) => {
      if (state.data?.is_live === true && playing === 'playing') return whileLiveMs
      return Date.now() - eagerSince < eagerForMs ? soonMs : laterMs
    },
    refetchOnWindowFocus: 'always',
  })

  if (channel.isPending) {
    return (
      <>
        <title>{`${handle} · Weir`}</title>
        <h1 className="sr-only">{handle}</h1>
        <WatchSkeleton label={loadingLabel} />
      </>
    )
  }
  if (channel.data === undefined) {
    if (
      channel.error instanceof ProblemError &&
      (channel.error.status === 404 || channel.error.status === 422)
    ) {
      return <NoSuchChannel handle={handle} />
    }
    return (
      <div className="page py-16">
        <title>{`${handle} · Weir`}</title>
        <h1 className="sr-only">{handle}</h1>
        <Failed
          error={channel.error}
          onRetry={() => void channel.refetch()}
          isRetrying={channel.isFetching}
        />
      </div>
    )
  }
  return (
    <WatchChannel
      channel={channel.data}
      playing={playing}
      onPlaying={(next) => {
        setPlaying(next)
        if (next === 'ended' || next === 'reconnecting' || next === 'waiting' || next === 'denied') {
          setEagerSince(Date.now())
          void channel.refetch()
        }
      }}
    />
  )
}

function WatchChannel({
  channel,
  playing,
  onPlaying,
}: {
  channel: Channel
  playing: SourceState | null
  onPlaying: (state: SourceState | null) => void
}) {
  const { t } = useLingui()
  const { isTheatre, setTheatre } = useTheatre()
  const address = usePlaybackAddress(channel, playing)
  // What is still buffered is shown to its end, whatever the server says by now.
  const stillShows = playing === 'playing' || playing === 'buffering'
  const showsPlayer = channel.is_live || stillShows
  useEffect(() => {
    if (!showsPlayer) onPlaying(null)
    // eslint-disable-next-line react-hooks/exhaustive-deps -- only the change counts
  }, [showsPlayer])

  return (
    <div className={classes('flex flex-col', isTheatre ? '' : 'lg:pt-6')}>
      <title>{channel.is_live ? t`${channel.title} · live on Weir` : `${channel.title} · Weir`}</title>
      <div className={isTheatre ? 'bg-picture' : 'watch-width'}>
        <div
          className={classes(
            'relative mx-auto overflow-hidden bg-picture',
            isTheatre ? 'stage-theatre' : 'aspect-video lg:rounded-lg',
          )}
        >
          {showsPlayer ? (
            <LatePlayer
              fallback={<StageLoading poster={ownAddressOrNull(channel.thumbnail_url)} />}
              src={address}
              poster={ownAddressOrNull(channel.thumbnail_url)}
              label={t`Player: ${channel.title}`}
              isTheatre={isTheatre}
              onTheatre={setTheatre}
              onState={onPlaying}
              remark={channel.live_stream_id ?? undefined}
              waitsSeconds={channel.reconnect_grace_seconds}
            />
          ) : (
            <OfflineStage channel={channel} />
          )}
        </div>
      </div>
      <div className="watch-width watch-padding pt-4 pb-16 lg:px-0">
        <ChannelInfo channel={channel} isLive={channel.is_live} />
      </div>
      <ChannelVideos handle={channel.handle} />
      <OtherLive handle={channel.handle} />
    </div>
  )
}

function ChannelInfo({ channel, isLive }: { channel: Channel; isLive: boolean }) {
  const { handle } = channel
  const state = useSession()
  const isOwn = state.status === 'signed-in' && state.account.id === channel.owner.id
  return (
    <>
      <div className="flex flex-wrap items-start gap-x-4 gap-y-4">
        <Avatar name={handle} src={channel.owner.avatar?.small_url} className="size-12 text-lg" />
        <div className="min-w-0 grow basis-60">
          <h1 className="text-lg font-semibold break-words text-text">{channel.title}</h1>
          <p className="mt-0.5 flex flex-wrap items-center gap-x-3 gap-y-1 text-sm text-faint">
            <span>{handle}</span>
            <OwnerLink owner={channel.owner} />
            <VisibilityBadge visibility={channel.visibility} />
            {isLive && (
              <span className="inline-flex items-center gap-2">
                <LiveBadge />
                {channel.live_stream_id !== null && <LiveSince id={channel.live_stream_id} />}
              </span>
            )}
          </p>
        </div>
        <div className="flex flex-wrap gap-2">
          {isOwn && (
            <ButtonLook>
              <Link to="/dashboard/$handle" params={{ handle }}>
                <LayoutDashboard aria-hidden className="size-4" />
                <Trans>Dashboard</Trans>
              </Link>
            </ButtonLook>
          )}
          <ShareButton handle={handle} title={channel.title} />
          {!isOwn && <ReportButton things={reportable(channel)} />}
        </div>
      </div>
      {channel.description !== '' && (
        <div className="mt-6 max-w-3xl rounded-lg bg-raised p-4 sm:p-5">
          <h2 className="sr-only">
            <Trans>About the channel</Trans>
          </h2>
          <p className="text-sm break-words whitespace-pre-line text-soft">{channel.description}</p>
        </div>
      )}
    </>
  )
}

/** Whose the channel is, where that says more than its own name. */
function OwnerLink({ owner }: { owner: Channel['owner'] }) {
  return (
    <Link
      to="/accounts/$username"
      params={{ username: owner.username }}
      className="max-w-full truncate hover:text-text hover:underline"
    >
      <Trans>
        by <bdi>{owner.display_name ?? owner.username}</bdi>
      </Trans>
    </Link>
  )
}

/** What is on now, and the channel itself. */
function reportable(channel: Channel): Reportable[] {
  const things: Reportable[] = [
    { target: { kind: 'channel', id: channel.id }, name: <Trans>The channel</Trans> },
  ]
  if (channel.live_stream_id !== null) {
    const target = { kind: 'stream' as const, id: channel.live_stream_id }
    things.unshift({ target, name: <Trans>What is on now</Trans> })
  }
  return things
}

function LiveSince({ id }: { id: string }) {
  const stream = api.useQuery(
    'get',
    '/api/v1/streams/{id}',
    { params: { path: { id } } },
    { staleTime: Infinity },
  )
  if (stream.data === undefined) return null
  return <Uptime since={stream.data.started_at} />
}

function StageLoading({ poster }: { poster: string | null }) {
  return poster === null ? (
    <Skeleton className="size-full !rounded-none" />
  ) : (
    <img src={poster} alt="" fetchPriority="high" className="size-full object-contain" />
  )
}

function WatchSkeleton({ label }: { label: string }) {
  return (
    <div role="status" aria-label={label} className="lg:pt-6">
      <div className="watch-width">
        <Skeleton className="aspect-video w-full !rounded-none lg:!rounded-lg" />
      </div>
      <div className="watch-width flex gap-4 watch-padding pt-4 lg:px-0">
        <Skeleton className="size-12 shrink-0 !rounded-full" />
        <div className="flex grow flex-col gap-2.5">
          <Skeleton className="h-6 w-3/5" />
          <Skeleton className="h-4 w-2/5" />
        </div>
      </div>
    </div>
  )
}
