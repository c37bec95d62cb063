import { useLingui } from '@lingui/react/macro'
import { useNow } from './now'

/** Hours, minutes and seconds as a clock shows them. */
export function formatDuration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  const two = (value: number) => String(value).padStart(2, '0')
  const minutes = Math.floor(seconds / 60)
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(seconds % 60)}`
}

const units: [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 31_557_600_000],
  ['month', 2_629_800_000],
  ['week', 604_800_000],
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
]

/** "3 hours ago", in the language given. */
export function formatAgo(at: number, now: number, locale: string): string {
  const format = new Intl.RelativeTimeFormat(locale, { numeric: 'auto' })
  const passed = Math.max(0, now - at)
  for (const [unit, length] of units) {
    if (passed >= length) return format.format(-Math.floor(passed / length), unit)
  }
  return format.format(-Math.floor(passed / 1000), 'second')
}

/** How long something has been going on, ticking. */
export function Uptime({ since }: { since: string }) {
  const now = useNow()
  return (
    <time dateTime={since} className="tabular-nums">
      {formatDuration(now - Date.parse(since))}
    </time>
  )
}

export function Ago({ at }: { at: string }) {
  const { i18n } = useLingui()
  const now = useNow()
  return (
    <time dateTime={at} title={new Date(at).toLocaleString(i18n.locale)}>
      {formatAgo(Date.parse(at), now, i18n.locale)}
    </time>
  )
}
