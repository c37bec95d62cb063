import { Trans, useLingui } from '@lingui/react/macro'
import { Ago, formatDuration } from '@/ui/clock'
import { Failed } from '@/ui/failed'
import { Notice, TextNotice } from '@/ui/notice'
import { Skeleton } from '@/ui/skeleton'
import { Measured } from './measured'
import { Qualities } from './qualities'
import { useIngest, type IngestStatus } from './queries'
import { StateTrack } from './state-track'
import { describeIngest } from './words'

/** What arrives from the encoder, with plain advice. */
export function HealthPanel({ handle }: { handle: string }) {
  const { t, i18n } = useLingui()
  const ingest = useIngest(handle)
  if (ingest.isPending) {
    return (
      <div role="status" aria-label={t`Loading the state of the stream`} className="flex flex-col gap-4">
        <Skeleton className="h-8" />
        <Skeleton className="h-24" />
      </div>
    )
  }
  const status = ingest.data
  if (status === undefined) {
    return (
      <Failed error={ingest.error} onRetry={() => void ingest.refetch()} isRetrying={ingest.isFetching} />
    )
  }
  return (
    <div className="flex flex-col gap-5">
      <StateTrack state={status.state} />
      <div className="text-sm text-soft">
        <p role="status">
          <Explanation status={status} />
        </p>
        {status.waits_ms !== null && <TimeLeft ms={status.waits_ms} />}
      </div>
      {status.last_refusal !== null && (
        <Notice
          tone={status.state === 'live' ? 'warning' : 'danger'}
          title={<Trans>An encoder was turned away</Trans>}
        >
          <p className="mt-1">
            {describeIngest(status.last_refusal, i18n)}{' '}
            <span className="whitespace-nowrap text-faint">
              <Ago at={status.last_refusal.at} />
            </span>
          </p>
        </Notice>
      )}
      {status.advice.map((advice) => (
        <TextNotice key={advice.code} tone="warning" text={describeIngest(advice, i18n)} />
      ))}
      {status.connected_since !== null && <Measured status={status} />}
      {status.state === 'live' && <Qualities status={status} />}
    </div>
  )
}

/** Beside what is read aloud, since it changes each second. */
function TimeLeft({ ms }: { ms: number }) {
  const time = formatDuration(ms)
  return (
    <p role="timer" className="mt-1 text-faint tabular-nums">
      <Trans>Time left: {time}</Trans>
    </p>
  )
}

function Explanation({ status }: { status: IngestStatus }) {
  switch (status.state) {
    case 'waiting':
      return (
        <Trans>
          Put the server and key into OBS and press “Start streaming”. This page notices by itself.
        </Trans>
      )
    case 'receiving':
      return (
        <Trans>
          The encoder is connected. The stream goes live with its first complete group of pictures.
        </Trans>
      )
    case 'live':
      return <Trans>Viewers see you.</Trans>
    case 'reconnecting':
      return status.connected_since === null ? (
        <Trans>
          The encoder is gone, and viewers wait. If it comes back in time, the same stream goes on; if not,
          the stream ends.
        </Trans>
      ) : (
        <Trans>The encoder is back. The stream goes on with its first complete group of pictures.</Trans>
      )
  }
}
