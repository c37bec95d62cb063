import { Trans, useLingui } from '@lingui/react/macro'
import { useQuery } from '@tanstack/react-query'
import { Link, useParams } from '@tanstack/react-router'
import { ExternalLink, Lock, UsersRound } from 'lucide-react'
import { useState, type ReactNode } from 'react'
import { ownAddressOrNull } from '@/api/own-address'
import { ProblemError } from '@/api/problem'
import { NotFoundPage } from '@/app/not-found-page'
import { useSession } from '@/features/accounts/session'
import { EncoderSettings } from '@/features/ingest/encoder-settings'
import { HealthPanel } from '@/features/ingest/health-panel'
import { InvitesPanel } from '@/features/invites/invites-panel'
import { RecordingsPanel } from '@/features/recordings/recordings-panel'
import { useIngest } from '@/features/ingest/queries'
import { LatePlayer } from '@/features/streams/late-player'
import type { SourceState } from '@/features/streams/player/source-state'
import { ButtonLook } from '@/ui/button'
import { CopyField } from '@/ui/copy-field'
import { Empty } from '@/ui/empty'
import { Failed } from '@/ui/failed'
import { LiveBadge } from '@/ui/live-badge'
import { Mark } from '@/ui/logo'
import { Skeleton } from '@/ui/skeleton'
import { Uptime } from '@/ui/clock'
import { DetailsForm } from './details-form'
import { channelQuery, type Channel } from './queries'
import { usePlaybackAddress } from './playback-address'
import { mayEdit, type Standing } from './standing'
import { StandingBadge } from './standing-words'
import { StreamKeyPanel } from './stream-key-panel'
import { VisibilityForm } from './visibility-form'
import { VisibilityBadge } from './visibility-words'

export function DashboardPage() {
  const { t } = useLingui()
  const handle = useParams({ from: '/dashboard/$handle' }).handle.toLowerCase()
  const state = useSession()
  const channel = useQuery({ ...channelQuery(handle), refetchInterval: 5000 })

  if (channel.isPending) {
    return (
      <>
        <title>{`${handle} · Weir`}</title>
        <h1 className="sr-only">{handle}</h1>
        <DashboardSkeleton label={t`Loading the dashboard`} />
      </>
    )
  }
  if (channel.data === undefined) {
    if (channel.error instanceof ProblemError && channel.error.status === 404) return <NotFoundPage />
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
  // What was loaded before signing in does not know yet.
  const isMine = state.status === 'signed-in' && state.account.id === channel.data.owner.id
  const standing = isMine ? 'owner' : channel.data.standing
  if (standing === null) return <NotYours channel={channel.data} />
  return <Dashboard channel={channel.data} standing={standing} />
}

/** What there is to do for a channel: all of it for its owner, for its team what their role allows. */
function Dashboard({ channel, standing }: { channel: Channel; standing: Standing }) {
  const { t } = useLingui()
  const { handle } = channel
  const isMine = standing === 'owner'
  const ingest = useIngest(handle)
  const [playing, setPlaying] = useState<SourceState | null>(null)
  const address = usePlaybackAddress(channel, playing)
  const isLive = ingest.data?.state === 'live' || ingest.data?.state === 'reconnecting'
  const since = ingest.data?.connected_since ?? null
  return (
    <div className="page max-w-[104rem] py-8 sm:py-10">
      <title>{t`${channel.title} · Dashboard · Weir`}</title>
      <div className="mb-7 flex flex-wrap items-center gap-x-4 gap-y-3">
        <div className="min-w-0 grow basis-64">
          <h1 className="truncate text-xl font-semibold text-text">{channel.title}</h1>
          <p className="mt-1 flex items-center gap-3 text-sm text-faint">
            {handle}
            <StandingBadge standing={standing} />
            <VisibilityBadge visibility={channel.visibility} />
            {isLive && <LiveBadge />}
            {isLive && since !== null && <Uptime since={since} />}
          </p>
        </div>
        <ButtonLook>
          <Link to="/dashboard/$handle/team" params={{ handle }}>
            <UsersRound aria-hidden className="size-4" />
            <Trans>Team</Trans>
          </Link>
        </ButtonLook>
        <ButtonLook>
          <Link to="/$handle" params={{ handle }}>
            <ExternalLink aria-hidden className="size-4" />
            <Trans>Open the channel</Trans>
          </Link>
        </ButtonLook>
      </div>
      <div className="grid items-start gap-6 lg:grid-cols-[minmax(0,1.55fr)_minmax(22rem,1fr)]">
        <div className="flex min-w-0 flex-col gap-6">
          <Panel title={<Trans>Stream</Trans>}>
            <div className="mb-5 aspect-video overflow-hidden rounded-sm bg-picture">
              {isLive ? (
                <LatePlayer
                  fallback={<Skeleton className="size-full" />}
                  src={address}
                  poster={ownAddressOrNull(channel.thumbnail_url)}
                  label={t`Preview`}
                  onState={setPlaying}
                  waitsSeconds={channel.reconnect_grace_seconds}
                  isPreview
                />
              ) : (
                <div className="flex size-full flex-col items-center justify-center gap-4 text-on-picture-soft still-water">
                  <Mark className="size-14 text-on-picture opacity-60" />
                  <p className="px-4 text-center text-sm">
                    <Trans>Your picture appears here when you are live.</Trans>
                  </p>
                </div>
              )}
            </div>
            <HealthPanel handle={handle} />
          </Panel>
          {mayEdit(standing) && (
            <>
              <Panel title={<Trans>Videos</Trans>}>
                <RecordingsPanel handle={handle} isOwner={isMine} />
              </Panel>
              <Panel title={<Trans>About the channel</Trans>} className="max-lg:hidden">
                <DetailsForm channel={channel} />
              </Panel>
            </>
          )}
        </div>
        <div className="flex min-w-0 flex-col gap-6 max-lg:contents">
          {/* On a phone what comes next comes first: the key before the stream, the stream before all else. */}
          {isMine && (
            <>
              <Panel title={<Trans>Go live</Trans>} className={isLive ? undefined : 'max-lg:order-first'}>
                <div className="flex flex-col gap-5">
                  <StreamKeyPanel handle={handle} />
                  <EncoderSettings />
                </div>
              </Panel>
              <Panel title={<Trans>Who may watch</Trans>}>
                <VisibilityForm channel={channel} />
              </Panel>
              <Panel title={<Trans>Invites</Trans>}>
                <InvitesPanel handle={handle} visibility={channel.visibility} />
              </Panel>
            </>
          )}
          <Panel title={<Trans>Share</Trans>}>
            <CopyField label={t`Address of the channel`} value={`${globalThis.location.origin}/${handle}`} />
            <p className="mt-2 text-xs text-faint">
              <Trans>
                It stays the same. Share it before you go live: the page starts playing by itself.
              </Trans>
            </p>
          </Panel>
        </div>
        {mayEdit(standing) && (
          <Panel title={<Trans>About the channel</Trans>} className="lg:hidden">
            <DetailsForm channel={channel} />
          </Panel>
        )}
      </div>
    </div>
  )
}

function Panel({
  title,
  className,
  children,
}: {
  title: ReactNode
  className?: string
  children: ReactNode
}) {
  return (
    <section className={`min-w-0 rounded-lg border bg-raised p-4 sm:p-6 ${className ?? ''}`}>
      <h2 className="mb-4 text-base font-semibold text-text">{title}</h2>
      {children}
    </section>
  )
}

function NotYours({ channel }: { channel: Channel }) {
  const { handle } = channel
  return (
    <div className="page py-16">
      <Empty
        icon={<Lock />}
        title={<Trans>This dashboard belongs to {channel.owner.username}</Trans>}
        action={
          <ButtonLook kind="primary">
            <Link to="/$handle" params={{ handle }}>
              <Trans>Watch the channel instead</Trans>
            </Link>
          </ButtonLook>
        }
      />
    </div>
  )
}

function DashboardSkeleton({ label }: { label: string }) {
  return (
    <div role="status" aria-label={label} className="page max-w-[104rem] py-8 sm:py-10">
      <Skeleton className="mb-8 h-12 w-72 max-w-full" />
      <div className="grid gap-6 lg:grid-cols-[minmax(0,1.55fr)_minmax(22rem,1fr)]">
        <Skeleton className="h-[34rem] !rounded-lg" />
        <Skeleton className="h-[26rem] !rounded-lg" />
      </div>
    </div>
  )
}
