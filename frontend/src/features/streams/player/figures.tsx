import { Trans, useLingui } from '@lingui/react/macro'
import { X } from 'lucide-react'
import { codecName } from '@/features/ingest/codec-name'
import { useEffect, useState, type ReactNode } from 'react'
import type { LiveSource } from './live-source'
import type { SourceFigures } from './source-figures'

/** What the player measures, for those who want to know. */
export function Figures({
  source,
  remark,
  onClose,
}: {
  source: LiveSource
  remark: ReactNode
  onClose: () => void
}) {
  const { t, i18n } = useLingui()
  const [figures, setFigures] = useState<SourceFigures>(() => source.figures())
  useEffect(() => {
    const timer = setInterval(() => setFigures(source.figures()), 1000)
    return () => clearInterval(timer)
  }, [source])

  const number = (value: number | null, digits: number, unit: string) =>
    value === null
      ? '–'
      : `${value.toLocaleString(i18n.locale, { maximumFractionDigits: digits, minimumFractionDigits: digits })} ${unit}`
  const rows: [string, ReactNode][] = [
    [t`Latency, about`, number(figures.latencySeconds, 1, 's')],
    [t`Buffer`, number(figures.bufferSeconds, 1, 's')],
    [t`Picture`, figures.width === 0 ? '–' : `${figures.width} × ${figures.height}`],
    [t`Frames a second`, number(figures.framesPerSecond, 0, '')],
    [
      t`Dropped frames`,
      `${figures.droppedFrames.toLocaleString(i18n.locale)} / ${figures.totalFrames.toLocaleString(i18n.locale)}`,
    ],
    [t`Bit rate`, number(figures.bitrateKbps, 0, 'kbit/s')],
    [
      t`Your connection`,
      number(figures.bandwidthKbps === null ? null : figures.bandwidthKbps / 1000, 1, 'Mbit/s'),
    ],
    [t`Speed`, `${figures.playbackRate.toLocaleString(i18n.locale, { maximumFractionDigits: 2 })} ×`],
    [t`Codecs`, figures.codecs.length === 0 ? '–' : figures.codecs.map(codecName).join(' + ')],
  ]
  return (
    <section
      aria-label={t`Figures of the stream`}
      className="absolute top-3 right-3 max-h-[calc(100%-5rem)] w-[min(19rem,calc(100%-1.5rem))] animate-rise overflow-y-auto rounded-lg bg-picture-veil p-3 text-xs text-on-picture backdrop-blur-md"
    >
      <div className="mb-1.5 flex items-center justify-between">
        <h2 className="font-semibold">
          <Trans>Figures</Trans>
        </h2>
        <button
          type="button"
          aria-label={t`Close`}
          onClick={onClose}
          className="-m-1 inline-flex size-8 items-center justify-center rounded-sm hover:bg-on-picture/15"
        >
          <X aria-hidden className="!size-4" />
        </button>
      </div>
      <dl className="grid grid-cols-[auto_1fr] gap-x-4 gap-y-1">
        {rows.map(([name, value]) => (
          <div key={name} className="contents">
            <dt className="text-on-picture-soft">{name}</dt>
            <dd className="text-right break-all tabular-nums">{value}</dd>
          </div>
        ))}
      </dl>
      {remark !== undefined && (
        <div className="mt-2 border-t border-on-picture/15 pt-2 text-on-picture-soft">{remark}</div>
      )}
    </section>
  )
}
