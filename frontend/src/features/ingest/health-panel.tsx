import { Trans, useLingui } from '@lingui/react/macro'
import type { ReactNode } from 'react'
import { Ago } from '@/ui/clock'
import { Failed } from '@/ui/failed'
import { Notice } from '@/ui/notice'
import { Skeleton } from '@/ui/skeleton'
import { useIngest, type IngestStatus } from './queries'
import { StateTrack } from './state-track'
import { codecName } from './codec-name'
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
      {status.state !== 'waiting' && <Measured status={status} />}
      {status.advice.map((advice) => (
        <Notice key={advice.code} tone="warning" title={describeIngest(advice, i18n)} />
      ))}
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

function Measured({ status }: { status: IngestStatus }) {
  const { t, i18n } = useLingui()
  const number = (value: number, digits = 0) =>
    value.toLocaleString(i18n.locale, { maximumFractionDigits: digits })
  const { video, audio } = status
  const figures: [string, ReactNode][] = [
    [
      t`Bit rate`,
      status.bitrate_kbps === null ? '–' : <Figure value={number(status.bitrate_kbps)} unit="kbit/s" />,
    ],
    [t`Frames a second`, video === null ? '–' : <Figure value={number(video.frame_rate, 1)} unit="fps" />],
    [t`Picture`, video === null ? '–' : <Figure value={`${video.width} × ${video.height}`} unit="" />],
    [
      t`Key frames`,
      status.keyframe_interval_ms === null ? (
        '–'
      ) : (
        <Figure value={number(status.keyframe_interval_ms / 1000, 1)} unit={t`s apart`} />
      ),
    ],
    [t`Video`, video === null ? '–' : codecName(video.codec)],
    [
      t`Audio`,
      audio === null ? '–' : `${codecName(audio.codec)} · ${number(audio.sample_rate / 1000, 1)} kHz`,
    ],
  ]
  return (
    <dl className="grid grid-cols-2 gap-px overflow-hidden rounded-sm border bg-line sm:grid-cols-3">
      {figures.map(([name, value]) => (
        <div key={name} className="bg-ground px-3.5 py-3">
          <dt className="text-xs text-faint">{name}</dt>
          <dd className="mt-0.5 truncate text-base font-semibold text-text tabular-nums">{value}</dd>
        </div>
      ))}
    </dl>
  )
}

function Figure({ value, unit }: { value: string; unit: string }) {
  return (
    <>
      {value} {unit !== '' && <span className="text-xs font-normal text-faint">{unit}</span>}
    </>
  )
}
