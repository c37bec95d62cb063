import { Trans, useLingui } from '@lingui/react/macro'
import { useQuery } from '@tanstack/react-query'
import { Link, useLocation } from '@tanstack/react-router'
import { TicketX } from 'lucide-react'
import { useEffect, useState } from 'react'
import { ownAddress } from '@/api/own-address'
import { ProblemError } from '@/api/problem'
import { LatePlayer } from '@/features/streams/late-player'
import type { SourceState } from '@/features/streams/player/source-state'
import { Avatar } from '@/ui/avatar'
import { ButtonLook } from '@/ui/button'
import { Empty } from '@/ui/empty'
import { Failed } from '@/ui/failed'
import { LiveBadge } from '@/ui/live-badge'
import { Mark } from '@/ui/logo'
import { Skeleton } from '@/ui/skeleton'
import { invitedQuery, type InvitedChannel } from './queries'

const whileLiveMs = 60_000
const soonMs = 3000
/** An address with a token is good for eleven hours or more, unless its invite ends; it is replaced well before. */
const renewedAfterMs = 10 * 3_600_000

/** The channel that an invite lets in. The secret stands after the #, so that it is sent to nobody but the API. */
export function InvitePage() {
  const invite = useLocation({ select: (location) => location.hash })
  return <Invited key={invite} invite={invite} />
}

function Invited({ invite }: { invite: string }) {
  const { t } = useLingui()
  const [playing, setPlaying] = useState<SourceState | null>(null)
  const invited = useQuery({
    ...invitedQuery(invite),
    retry: false,
    refetchInterval: ({ state }) => {
      if (state.error instanceof ProblemError && state.error.status === 404) return false
      return state.data?.is_live === true && playing === 'playing' ? whileLiveMs : soonMs
    },
  })
  const isOver = invited.error instanceof ProblemError && invited.error.status === 404
  if (invite === '' || isOver) {
    return (
      <div className="page py-16">
        <title>{t`Invite · Weir`}</title>
        <Empty
          icon={<TicketX />}
          title={<Trans>This invite lets nobody in</Trans>}
          action={
            <ButtonLook kind="primary">
              <Link to="/">
                <Trans>See who is live</Trans>
              </Link>
            </ButtonLook>
          }
        >
          <Trans>It was taken back, is over, or was never one. Ask whoever gave it to you for another.</Trans>
        </Empty>
      </div>
    )
  }
  if (invited.isPending) {
    return (
      <div role="status" aria-label={t`Looking at the invite`} className="watch-width lg:pt-6">
        <Skeleton className="aspect-video w-full !rounded-none lg:!rounded-lg" />
      </div>
    )
  }
  if (invited.data === undefined) {
    return (
      <div className="page py-16">
        <title>{t`Invite · Weir`}</title>
        <Failed
          error={invited.error}
          onRetry={() => void invited.refetch()}
          isRetrying={invited.isFetching}
        />
      </div>
    )
  }
  return (
    <Shown
      invited={invited.data}
      playing={playing}
      onPlaying={(next) => {
        setPlaying(next)
        // Its right may have ended: the API knows.
        if (next !== 'playing' && next !== 'buffering' && next !== null) void invited.refetch()
      }}
    />
  )
}

function Shown({
  invited,
  playing,
  onPlaying,
}: {
  invited: InvitedChannel
  playing: SourceState | null
  onPlaying: (state: SourceState | null) => void
}) {
  const { t } = useLingui()
  const address = useKeptAddress(invited.hls_url, playing)
  const { channel, description, is_live: isLive } = invited
  const showsPlayer = isLive || playing === 'playing' || playing === 'buffering'
  return (
    <div className="flex flex-col lg:pt-6">
      <title>{isLive ? t`${channel.title} · live on Weir` : `${channel.title} · Weir`}</title>
      <div className="watch-width">
        <div className="relative mx-auto aspect-video overflow-hidden bg-picture lg:rounded-lg">
          {showsPlayer ? (
            <LatePlayer
              fallback={<Skeleton className="size-full !rounded-none" />}
              src={address}
              poster={null}
              label={t`Player: ${channel.title}`}
              onState={onPlaying}
            />
          ) : (
            <div className="flex size-full flex-col items-center justify-center gap-4 text-on-picture-soft still-water">
              <Mark className="size-14 text-on-picture opacity-60" />
              <p className="px-4 text-center text-sm">
                <Trans>You are invited. It starts playing by itself when the channel is live.</Trans>
              </p>
            </div>
          )}
        </div>
      </div>
      <div className="watch-width watch-padding pt-4 pb-16 lg:px-0">
        <div className="flex flex-wrap items-start gap-4">
          <Avatar name={channel.handle} className="size-12 text-lg" />
          <div className="min-w-0 grow basis-60">
            <h1 className="text-lg font-semibold break-words text-text">{channel.title}</h1>
            <p className="mt-0.5 flex items-center gap-3 text-sm text-faint">
              {channel.handle}
              {isLive && <LiveBadge />}
            </p>
          </div>
        </div>
        {description !== '' && (
          <p className="mt-6 max-w-3xl rounded-lg bg-raised p-4 text-sm break-words whitespace-pre-line text-soft sm:p-5">
            {description}
          </p>
        )}
      </div>
    </div>
  )
}

/** The player keeps the address that it has, since another one makes it load anew, until it is refused or grows old. */
function useKeptAddress(url: string, playing: SourceState | null): string {
  const [taken, setTaken] = useState({ url, isOld: false })
  useEffect(() => {
    const timer = setTimeout(() => setTaken((now) => ({ ...now, isOld: true })), renewedAfterMs)
    return () => clearTimeout(timer)
  }, [taken.url])
  const isStale = playing === null || playing === 'denied' || taken.isOld
  if (taken.url !== url && isStale) setTaken({ url, isOld: false })
  return ownAddress(taken.url)
}
