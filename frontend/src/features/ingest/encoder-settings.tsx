import { Trans, useLingui } from '@lingui/react/macro'
import { ChevronDown } from 'lucide-react'
import type { ReactNode } from 'react'

/** What to set in OBS, in the words that OBS uses. */
export function EncoderSettings() {
  const { t } = useLingui()
  const rows: [string, ReactNode][] = [
    [t`Service`, <Trans key="service">Custom…</Trans>],
    [t`Rate control`, 'CBR'],
    [t`Key-frame interval`, t`2 s`],
    [t`Video encoder`, t`H.264 (x264), or AV1`],
    [t`Audio encoder`, 'AAC'],
    [t`Bit rate`, t`2,500 kbit/s for 720p, 4,500 for 1080p`],
  ]
  return (
    <details className="group rounded-sm border">
      <summary className="flex h-11 cursor-pointer items-center rounded-sm px-3.5 text-sm font-medium text-soft hover:text-text">
        <Trans>Settings for OBS</Trans>
        <ChevronDown
          aria-hidden
          className="ml-auto size-4 transition-transform duration-150 group-open:rotate-180 motion-reduce:transition-none"
        />
      </summary>
      <dl className="border-t px-3.5 py-2 text-sm">
        {rows.map(([name, value]) => (
          <div key={name} className="flex justify-between gap-6 py-1.5">
            <dt className="text-faint">{name}</dt>
            <dd className="text-right font-medium text-text">{value}</dd>
          </div>
        ))}
      </dl>
    </details>
  )
}
