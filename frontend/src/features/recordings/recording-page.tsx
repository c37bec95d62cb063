import { Trans, useLingui } from '@lingui/react/macro'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useParams } from '@tanstack/react-router'
import { Download, Film, LayoutDashboard, Link as LinkIcon } from 'lucide-react'
import { useCallback, useState } from 'react'
import { toast } from 'sonner'
import { ownAddress, ownAddressOrNull } from '@/api/own-address'
import { ProblemError } from '@/api/problem'
import { useSession } from '@/features/accounts/session'
import { channelQuery } from '@/features/channels/queries'
import { ReportButton } from '@/features/reports/report-button'
import { Avatar } from '@/ui/avatar'
import { Button, ButtonLook } from '@/ui/button'
import { copyText } from '@/ui/copy-text'
import { Empty } from '@/ui/empty'
import { Failed } from '@/ui/failed'
import { TextNotice } from '@/ui/notice'
import { Skeleton } from '@/ui/skeleton'
import { DownloadQuestion } from './download-question'
import { LateRecordingPlayer } from './late-recording-player'
import { keepWatched, watchedUntil } from './progress'
import { recordingQuery, type Recording } from './queries'
import { troubleOf, visibilityWords } from './words'

/** One recording, to be watched. */
export function RecordingPage() {
  const { t } = useLingui()
  const { id } = useParams({ from: '/$handle/videos/$id' })
  const recording = useQuery({
    ...recordingQuery(id),
    // An address with a token is good for some hours; one that is being made will be ready.
    refetchInterval: ({ state }) => (state.data?.status === 'recording' ? 5000 : 30 * 60_000),
  })
  if (recording.isPending) {
    return (
      <div role="status" aria-label={t`Loading the video`} className="lg:pt-6">
        <title>Weir</title>
        <div className="watch-width">
          <Skeleton className="aspect-video w-full !rounded-none lg:!rounded-lg" />
        </div>
        <div className="watch-width watch-padding pt-4 lg:px-0">
          <Skeleton className="h-6 w-3/5" />
        </div>
      </div>
    )
  }
  if (recording.data === undefined) {
    const isGone = recording.error instanceof ProblemError && recording.error.status === 404
    return (
      <div className="page py-16">
        <title>Weir</title>
        {isGone ? (
          <Gone />
        ) : (
          <Failed
            error={recording.error}
            onRetry={() => void recording.refetch()}
            isRetrying={recording.isFetching}
          />
        )}
      </div>
    )
  }
  return <Watch key={recording.data.id} recording={recording.data} />
}

function Gone() {
  const { handle } = useParams({ from: '/$handle/videos/$id' })
  return (
    <>
      <h1 className="sr-only">
        <Trans>Video</Trans>
      </h1>
      <Empty
        icon={<Film />}
        title={<Trans>This video is not here</Trans>}
        action={
          <ButtonLook kind="primary">
            <Link to="/$handle/videos" params={{ handle }}>
              <Trans>Other videos of this channel</Trans>
            </Link>
          </ButtonLook>
        }
      >
        <Trans>It was deleted, or it is not for everybody.</Trans>
      </Empty>
    </>
  )
}

function Watch({ recording }: { recording: Recording }) {
  const { t, i18n } = useLingui()
  const state = useSession()
  const channel = useQuery(channelQuery(recording.channel.handle))
  const isOwn = state.status === 'signed-in' && state.account.id === channel.data?.owner.id
  const queries = useQueryClient()
  // An address that is made anew each hour must not begin the video anew; one that is refused is asked for anew.
  const [playback, setPlayback] = useState(recording.playback)
  const renew = useCallback(
    async (refused: string) => {
      const fresh = await queries.query({ ...recordingQuery(recording.id), staleTime: 0 })
      if (fresh.playback === null || ownAddress(fresh.playback.hls_url) === refused) return false
      setPlayback(fresh.playback)
      return true
    },
    [queries, recording.id],
  )
  const [startsAt] = useState(() => watchedUntil(recording.id))
  const [asksForFiles, setAsksForFiles] = useState(false)
  const onTime = useCallback(
    (seconds: number, duration: number) => keepWatched(recording.id, seconds, duration),
    [recording.id],
  )
  const shown = playback ?? recording.playback
  const trouble = troubleOf(recording, i18n)
  const { handle } = recording.channel
  return (
    <div className="flex flex-col lg:pt-6">
      <title>{`${recording.title} · Weir`}</title>
      <div className="watch-width">
        <div className="relative mx-auto aspect-video overflow-hidden bg-picture lg:rounded-lg">
          {shown === null ? (
            <NotReady recording={recording} trouble={trouble} />
          ) : (
            <LateRecordingPlayer
              fallback={<Skeleton className="size-full !rounded-none" />}
              src={ownAddress(shown.hls_url)}
              poster={ownAddressOrNull(recording.thumbnail_url)}
              sheet={ownAddressOrNull(recording.seek_thumbnails_url)}
              label={t`Player: ${recording.title}`}
              startsAt={startsAt}
              onTime={onTime}
              onRefused={renew}
            />
          )}
        </div>
      </div>
      {asksForFiles && recording.download_url !== null && (
        <DownloadQuestion url={recording.download_url} onClose={() => setAsksForFiles(false)} />
      )}
      <div className="watch-width watch-padding pt-4 pb-16 lg:px-0">
        <div className="flex flex-wrap items-start gap-4">
          <div className="min-w-0 grow basis-60">
            <h1 className="text-lg font-semibold break-words text-text">{recording.title}</h1>
            <p className="mt-1 flex flex-wrap items-center gap-x-3 text-sm text-faint">
              <time dateTime={recording.started_at}>
                {new Date(recording.started_at).toLocaleDateString(i18n.locale, { dateStyle: 'long' })}
              </time>
              {isOwn && <span>{i18n._(visibilityWords[recording.visibility])}</span>}
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
            {recording.download_url !== null && (
              <Button
                icon={<Download aria-hidden className="size-4" />}
                onClick={() => setAsksForFiles(true)}
              >
                <Trans>Download</Trans>
              </Button>
            )}
            <Button
              icon={<LinkIcon aria-hidden className="size-4" />}
              onClick={() => {
                void copyText(globalThis.location.href).then((done) => {
                  if (done) toast.success(t`Link copied`)
                })
              }}
            >
              <Trans>Copy the link</Trans>
            </Button>
            {!isOwn && (
              <ReportButton
                things={[{ target: { kind: 'recording', id: recording.id }, name: recording.title }]}
                now={() => watchedUntil(recording.id) * 1000}
              />
            )}
          </div>
        </div>
        {isOwn && trouble !== null && shown !== null && (
          <div className="mt-4">
            <TextNotice tone="warning" text={trouble} />
          </div>
        )}
        <Link
          to="/$handle"
          params={{ handle }}
          className="mt-6 inline-flex items-center gap-3 rounded-lg pr-3 text-sm font-semibold text-text hover:text-accent-text"
        >
          <Avatar name={handle} className="size-10 text-sm" />
          <span className="min-w-0">
            <span className="block break-words">{recording.channel.title}</span>
            <span className="block font-normal text-faint">{handle}</span>
          </span>
        </Link>
      </div>
    </div>
  )
}

function NotReady({ recording, trouble }: { recording: Recording; trouble: string | null }) {
  return (
    <div
      role="status"
      className="flex size-full flex-col items-center justify-center gap-2 p-6 text-center text-on-picture still-water"
    >
      {recording.status === 'recording' ? (
        <>
          <p className="text-base font-semibold">
            <Trans>This stream is being recorded</Trans>
          </p>
          <p className="max-w-sm text-sm text-on-picture-soft">
            <Trans>The video is ready a moment after the stream is over.</Trans>
          </p>
        </>
      ) : (
        <p className="max-w-sm text-sm">{trouble}</p>
      )}
    </div>
  )
}
