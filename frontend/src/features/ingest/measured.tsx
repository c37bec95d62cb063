import { Trans, useLingui } from '@lingui/react/macro'
import { ChevronDown, CircleCheck, TriangleAlert } from 'lucide-react'
import type { ReactNode } from 'react'
import { classes } from '@/ui/classes'
import { codecName } from './codec-name'
import { encoderName } from './encoder-name'
import type { IngestStatus } from './queries'
import { Sparkline } from './sparkline'

interface Figure {
  name: string
  value: ReactNode
  /** Of the last minute. */
  course?: number[]
  /** Codes of advice that speak of it. */
  advice: string[]
}

/** The figures of what arrives, each with its course over the last minute and whether it is as it should be. */
export function Measured({ status }: { status: IngestStatus }) {
  const { t, i18n } = useLingui()
  const number = (value: number, digits = 0) =>
    value.toLocaleString(i18n.locale, { maximumFractionDigits: digits })
  const { video, audio, history } = status
  const codes = new Set(status.advice.map((advice) => advice.code))
  const figures: Figure[] = [
    {
      name: t`Bit rate`,
      value: known(status.bitrate_kbps, (kbps) => <Amount value={number(kbps)} unit="kbit/s" />),
      course: history.map((sample) => sample.bitrate_kbps),
      advice: ['bitrate_varies', 'silent'],
    },
    {
      name: t`Frames a second`,
      value: known(status.frame_rate, (rate) => <Amount value={number(rate, 1)} unit="fps" />),
      course: history.map((sample) => sample.frame_rate),
      advice: ['frames_missing', 'encoder_slow'],
    },
    {
      name: t`Frames missing`,
      value: known(status.missing_frames, (count) => <Amount value={number(count)} unit={t`in 5 s`} />),
      course: history.map((sample) => sample.missing_frames),
      advice: ['frames_missing'],
    },
    {
      name: t`Unevenness`,
      value: known(status.jitter_ms, (ms) => <Amount value={number(ms)} unit="ms" />),
      course: history.map((sample) => sample.jitter_ms),
      advice: ['line_stutters', 'encoder_slow', 'silent'],
    },
    {
      name: t`Key frames`,
      value: known(status.keyframe_interval_ms, (ms) => (
        <Amount value={number(ms / 1000, 1)} unit={t`s apart`} />
      )),
      advice: ['key_frames_far'],
    },
    {
      name: t`Sound ahead of picture`,
      value: known(status.sound_ahead_ms, (ms) => <Amount value={number(ms)} unit="ms" />),
      advice: ['sound_apart'],
    },
    {
      name: t`Picture`,
      value: known(video, ({ codec, width, height }) => (
        <Amount value={`${width} × ${height}`} unit={codecName(codec)} />
      )),
      advice: ['hevc_alone', 'av1_alone', 'sound_alone'],
    },
    {
      name: t`Audio`,
      value: known(audio, ({ codec, sample_rate }) => (
        <Amount value={codecName(codec)} unit={`${number(sample_rate / 1000, 1)} kHz`} />
      )),
      advice: ['no_audio'],
    },
    { name: t`Encoder`, value: known(status.encoder, encoderName), advice: [] },
  ]
  return (
    <div className="flex flex-col gap-3">
      <dl className="grid grid-cols-2 gap-px overflow-hidden rounded-sm border bg-line sm:grid-cols-3">
        {figures.map(({ name, value, course, advice }) => {
          const isAttention = advice.some((code) => codes.has(code))
          // Of what is not known there is nothing to say, but of what is missing.
          const isJudged = advice.length > 0 && (isAttention || value !== '–')
          return (
            <div
              key={name}
              // Names, values and courses stand in line with those beside them, whichever of them wraps or is not there.
              className="row-span-3 grid grid-rows-subgrid gap-y-0 bg-ground px-2.5 py-3 last:odd:col-span-2 sm:px-3.5 sm:last:odd:col-span-1"
            >
              <dt className="flex items-start gap-1 text-xs text-faint sm:gap-1.5">
                {isJudged && <Judgement isAttention={isAttention} />}
                <span className="min-w-0 break-words">{name}</span>
              </dt>
              <dd className="row-span-2 grid grid-rows-subgrid gap-y-0 pt-0.5 text-base font-semibold text-text tabular-nums">
                <span className="block break-words">{value}</span>
                {course !== undefined && <Sparkline values={course} isAttention={isAttention} />}
              </dd>
            </div>
          )
        })}
      </dl>
      <HistoryTable history={history} />
    </div>
  )
}

function known<T>(value: T | null, show: (value: T) => ReactNode): ReactNode {
  return value === null ? '–' : show(value)
}

function Judgement({ isAttention }: { isAttention: boolean }) {
  const { t } = useLingui()
  const Icon = isAttention ? TriangleAlert : CircleCheck
  return (
    <Icon
      role="img"
      aria-label={isAttention ? t`Needs attention` : t`Good`}
      className={classes('mt-px size-3.5 shrink-0', isAttention ? 'text-warning' : 'text-accent-text')}
    />
  )
}

function Amount({ value, unit }: { value: string; unit: string }) {
  return (
    <>
      {value} <span className="text-xs font-normal text-faint">{unit}</span>
    </>
  )
}

/** The same courses in figures, for who cannot see lines or wants to read them. */
function HistoryTable({ history }: { history: IngestStatus['history'] }) {
  const { i18n } = useLingui()
  if (history.length < 2) return null
  const number = (value: number, digits = 0) =>
    value.toLocaleString(i18n.locale, { maximumFractionDigits: digits })
  // Every fifth second, the newest first: the figures are averages over as long.
  const rows = history
    .map((sample, index) => ({ ...sample, secondsAgo: history.length - 1 - index }))
    .filter(({ secondsAgo }) => secondsAgo % 5 === 0)
    .reverse()
  return (
    <details className="group rounded-sm border">
      <summary className="flex h-10 cursor-pointer items-center rounded-sm px-3.5 text-xs font-medium text-soft hover:text-text">
        <Trans>The last minute in figures</Trans>
        <ChevronDown
          aria-hidden
          className="ml-auto size-4 transition-transform duration-150 group-open:rotate-180 motion-reduce:transition-none"
        />
      </summary>
      <div className="overflow-x-auto border-t px-3.5 py-2">
        <table className="w-full text-right text-xs tabular-nums">
          <thead className="text-faint">
            <tr>
              <th scope="col" className="py-1 text-left font-medium">
                <Trans>Seconds ago</Trans>
              </th>
              <th scope="col" className="py-1 pl-3 font-medium">
                kbit/s
              </th>
              <th scope="col" className="py-1 pl-3 font-medium">
                fps
              </th>
              <th scope="col" className="py-1 pl-3 font-medium">
                <Trans>Frames missing</Trans>
              </th>
              <th scope="col" className="py-1 pl-3 font-medium">
                <Trans>Unevenness, ms</Trans>
              </th>
            </tr>
          </thead>
          <tbody className="text-soft">
            {rows.map((row) => (
              <tr key={row.secondsAgo}>
                <th scope="row" className="py-1 text-left font-normal">
                  {number(row.secondsAgo)}
                </th>
                <td className="py-1 pl-3">{number(row.bitrate_kbps)}</td>
                <td className="py-1 pl-3">{number(row.frame_rate, 1)}</td>
                <td className="py-1 pl-3">{number(row.missing_frames)}</td>
                <td className="py-1 pl-3">{number(row.jitter_ms)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  )
}
