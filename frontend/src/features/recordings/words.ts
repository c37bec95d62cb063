import type { I18n, MessageDescriptor } from '@lingui/core'
import { msg } from '@lingui/core/macro'
import type { Schemas } from '@/api/client'
import type { Recording } from './queries'

export const visibilityWords: Record<Schemas['RecordingVisibility'], MessageDescriptor> = {
  published: msg`Everybody can find it`,
  unlisted: msg`Only with the link`,
  archived: msg`Only you`,
}

const cutShortWords: Record<Schemas['RecordingCutShort'], MessageDescriptor> = {
  storage_full: msg`It ends early: the server had no room left. Delete old recordings, or ask whoever runs the server.`,
  storage_unavailable: msg`It ends early: the server’s storage could not be reached.`,
  crashed: msg`It ends early: the server went down during the stream.`,
  quota: msg`It ends early: it had taken all the room that this channel’s videos may take. Set a higher limit in the dashboard, or ask whoever runs the server for more room.`,
}

const failureWords: Record<Schemas['RecordingFailure'], MessageDescriptor> = {
  empty: msg`Nothing was recorded: the stream was over too soon.`,
  storage_full: msg`Nothing was recorded: the server had no room left. Delete old recordings, or ask whoever runs the server.`,
  storage_unavailable: msg`Nothing was recorded: the server’s storage could not be reached.`,
  node_lost: msg`What was recorded is on a server that is gone. It is ready when that server is back.`,
}

/** What its owner should know of a recording that is not as it should be; `null` when all is well. */
export function troubleOf(recording: Recording, i18n: I18n): string | null {
  if (recording.failure !== null) return i18n._(failureWords[recording.failure])
  if (recording.cut_short !== null) return i18n._(cutShortWords[recording.cut_short])
  if (recording.gap_count > 0)
    return i18n._(msg`Something is missing in between: the server could not keep up.`)
  return null
}

/** "1:02:03", or "2:03" below an hour. */
export function clockText(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  const two = (value: number) => String(value).padStart(2, '0')
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60]
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`
}

/** "1.2 GB", in the language given. */
export function sizeText(bytes: number, locale: string): string {
  const units = ['megabyte', 'gigabyte', 'terabyte'] as const
  let value = bytes / 1e6
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit += 1
  }
  return new Intl.NumberFormat(locale, {
    style: 'unit',
    unit: units[unit] ?? 'megabyte',
    maximumFractionDigits: value < 10 ? 1 : 0,
  }).format(value)
}
