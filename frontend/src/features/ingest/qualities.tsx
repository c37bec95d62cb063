import { Trans, useLingui } from '@lingui/react/macro'
import type { IngestStatus } from './queries'
import { describeRenditions } from './words'

/** A rendition that is further behind what it should have by now is about to be dropped. */
const lateMs = 2000

/** Which qualities viewers can choose from, and why there are no more. */
export function Qualities({ status }: { status: IngestStatus }) {
  const { i18n } = useLingui()
  const { renditions, renditions_remark: remark, video } = status
  if (video === null) return null
  return (
    <section aria-labelledby="qualities" className="flex flex-col gap-2">
      <h3 id="qualities" className="text-sm font-medium text-text">
        <Trans>What viewers can choose</Trans>
      </h3>
      <ul className="flex flex-wrap gap-2 text-xs text-soft">
        <li className="rounded-sm border px-2.5 py-1.5">
          <span className="font-medium text-text">{`${video.height}p`}</span> <Trans>as you send it</Trans>
        </li>
        {renditions.map((rendition) => (
          <li key={rendition.name} className="rounded-sm border px-2.5 py-1.5 tabular-nums">
            <span className="font-medium text-text">{rendition.name}</span>{' '}
            {`${rendition.bitrate_kbps.toLocaleString(i18n.locale)} kbit/s`}
            {rendition.lag_ms >= lateMs && <Late lagMs={rendition.lag_ms} />}
          </li>
        ))}
      </ul>
      {remark !== null && <p className="text-xs text-faint">{describeRenditions(remark, i18n)}</p>}
    </section>
  )
}

function Late({ lagMs }: { lagMs: number }) {
  const { i18n } = useLingui()
  const seconds = (lagMs / 1000).toLocaleString(i18n.locale, { maximumFractionDigits: 1 })
  return (
    <span className="text-warning">
      {' · '}
      <Trans>{seconds} s behind your stream</Trans>
    </span>
  )
}
