import { Trans, useLingui } from '@lingui/react/macro'
import { useInfiniteQuery } from '@tanstack/react-query'
import { Button } from '@/ui/button'
import { Ago } from '@/ui/clock'
import { Failed } from '@/ui/failed'
import { Skeleton } from '@/ui/skeleton'
import { ownReportsQuery, type Report } from './queries'
import { ReportedThing } from './reported-thing'
import { kindWords, stateWords, targetWords } from './words'

/** What one has reported, and what came of it. */
export function OwnReportsPanel() {
  const { t } = useLingui()
  const reports = useInfiniteQuery(ownReportsQuery())
  const items = reports.data?.pages.flatMap((page) => page.items) ?? []
  if (reports.isPending) {
    return (
      <div role="status" aria-label={t`Loading your reports`}>
        <Skeleton className="h-16 !rounded-lg" />
      </div>
    )
  }
  if (reports.data === undefined) {
    return (
      <Failed error={reports.error} onRetry={() => void reports.refetch()} isRetrying={reports.isFetching} />
    )
  }
  if (items.length === 0) {
    return (
      <p className="text-sm text-soft">
        <Trans>
          You have reported nothing. “Report” stands below each channel and video, and on each account’s page.
        </Trans>
      </p>
    )
  }
  return (
    <div className="flex flex-col gap-4">
      <ul className="flex flex-col divide-y divide-line rounded-lg border">
        {items.map((report) => (
          <OwnReport key={report.id} report={report} />
        ))}
      </ul>
      {reports.hasNextPage && (
        <Button
          className="self-start"
          isBusy={reports.isFetchingNextPage}
          onClick={() => void reports.fetchNextPage()}
        >
          {reports.isFetchNextPageError ? <Trans>Try again</Trans> : <Trans>Show more</Trans>}
        </Button>
      )}
    </div>
  )
}

function OwnReport({ report }: { report: Report }) {
  const { i18n } = useLingui()
  return (
    <li className="flex flex-col gap-1 p-4 text-sm">
      <p className="flex flex-wrap items-baseline gap-x-2">
        <span className="text-faint">{i18n._(targetWords[report.target.kind])}</span>
        <ReportedThing target={report.target} />
      </p>
      <p className="text-xs text-faint">
        {i18n._(kindWords[report.kind])} · <Ago at={report.created_at} />
      </p>
      <p className="mt-1 break-words whitespace-pre-line text-soft">{report.text}</p>
      <p className="mt-2 font-medium text-text">{i18n._(stateWords[report.state])}</p>
      {report.answer !== null && (
        <p className="rounded-sm bg-raised p-3 break-words whitespace-pre-line text-soft">{report.answer}</p>
      )}
    </li>
  )
}
