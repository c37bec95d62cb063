import { Trans, useLingui } from '@lingui/react/macro'
import { Ago } from '@/ui/clock'
import { Failed } from '@/ui/failed'
import { Notice } from '@/ui/notice'
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
      <p role="status" className="text-sm text-soft">
        <Explanation status={status} />
      </p>
      {status.last_refusal !== null && status.state === 'waiting' && (
        <Notice tone="danger" title={<Trans>The last attempt was refused</Trans>}>
          {describeIngest(status.last_refusal, i18n)}{' '}
          <span className="text-faint">
            <Ago at={status.last_refusal.at} />
          </span>
        </Notice>
      )}
      {status.advice.map((advice) => (
        <Notice key={advice.code} tone="warning" title={describeIngest(advice, i18n)} />
      ))}
      {status.state !== 'waiting' && <Measured status={status} />}
      {status.state === 'live' && <Qualities status={status} />}
    </div>
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
      return (
        <Trans>The encoder has gone silent. If it is back within a minute, the same stream goes on.</Trans>
      )
  }
}
