import { Trans, useLingui } from '@lingui/react/macro'
import { useState } from 'react'
import { clockText } from '@/features/recordings/words'
import { Button } from '@/ui/button'
import { Ago } from '@/ui/clock'
import { DecisionForm } from './decision-form'
import type { QueuedReport } from './queries'
import { ReportedThing } from './reported-thing'
import { actionWords, kindWords, stateWords, targetWords } from './words'

/** One report, as an administrator reads it. */
export function QueuedReportCard({ report }: { report: QueuedReport }) {
  const { i18n } = useLingui()
  const [isDeciding, setDeciding] = useState(false)
  const owner = report.target.owner.username
  const reporter = report.reporter.username
  const moment = report.at_ms === null ? null : clockText(report.at_ms)
  return (
    <article className="rounded-lg border bg-raised p-4 sm:p-5">
      <div className="flex flex-wrap items-baseline gap-x-3 gap-y-1">
        <h2 className="flex min-w-0 flex-wrap items-baseline gap-x-2 text-base">
          <span className="text-sm text-faint">{i18n._(targetWords[report.target.kind])}</span>
          <ReportedThing target={report.target} />
        </h2>
        {report.target.handle !== null && (
          <p className="text-sm text-soft">
            <Trans>of {owner}</Trans>
          </p>
        )}
        {report.is_owner_suspended && (
          <span className="rounded-sm bg-danger-wash px-2 py-0.5 text-xs font-medium text-danger">
            <Trans>Suspended</Trans>
          </span>
        )}
      </div>
      <p className="mt-1 text-xs text-faint">
        {i18n._(kindWords[report.kind])}
        {' · '}
        <Trans>reported by {reporter}</Trans> <Ago at={report.created_at} />
        {moment !== null && (
          <>
            {' · '}
            <Trans>at {moment}</Trans>
          </>
        )}
      </p>
      {report.text === null ? (
        <p className="mt-3 text-sm text-faint">
          <Trans>Whoever reported this was erased, and their words with them.</Trans>
        </p>
      ) : (
        <p className="mt-3 max-w-prose text-sm break-words whitespace-pre-line text-soft">{report.text}</p>
      )}
      {report.state === 'open' ? (
        isDeciding ? (
          <DecisionForm report={report} onDone={() => setDeciding(false)} />
        ) : (
          <Button className="mt-4" onClick={() => setDeciding(true)}>
            <Trans>Decide</Trans>
          </Button>
        )
      ) : (
        <Decision report={report} />
      )}
    </article>
  )
}

function Decision({ report }: { report: QueuedReport }) {
  const { i18n } = useLingui()
  const by = report.decided_by ?? ''
  return (
    <div className="mt-4 border-t pt-3 text-sm">
      <p className="font-medium text-text">
        {i18n._(stateWords[report.state])}
        {report.action !== null && report.action !== 'none' && <> · {i18n._(actionWords[report.action])}</>}
      </p>
      <p className="text-xs text-faint">
        <Trans>decided by {by}</Trans>
        {report.decided_at !== null && (
          <>
            {' '}
            <Ago at={report.decided_at} />
          </>
        )}
      </p>
      {report.answer !== null && (
        <p className="mt-2 max-w-prose break-words whitespace-pre-line text-soft">{report.answer}</p>
      )}
    </div>
  )
}
