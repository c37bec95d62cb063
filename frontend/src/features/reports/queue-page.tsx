import { Trans, useLingui } from '@lingui/react/macro'
import { useInfiniteQuery } from '@tanstack/react-query'
import { Flag } from 'lucide-react'
import { useState } from 'react'
import { Empty } from '@/ui/empty'
import { Failed } from '@/ui/failed'
import { LoadMore } from '@/ui/load-more'
import { Skeleton } from '@/ui/skeleton'
import { Tabs } from './tabs'
import { QueuedReportCard } from './queued-report-card'
import { queueQuery, type ReportState } from './queries'

type Shown = ReportState | 'all'

/** What was reported, for administrators to decide. */
export function QueuePage() {
  const { t } = useLingui()
  const [shown, setShown] = useState<Shown>('open')
  const reports = useInfiniteQuery({
    ...queueQuery(shown === 'all' ? null : shown),
    refetchInterval: 30_000,
  })
  const items = reports.data?.pages.flatMap((page) => page.items) ?? []
  return (
    <div>
      <title>{t`Reports · Weir`}</title>
      <h1 className="text-xl font-semibold text-text">
        <Trans>Reports</Trans>
      </h1>
      <p className="mt-1 text-sm text-soft">
        <Trans>Look at what was reported, decide, and answer whoever has told you.</Trans>
      </p>
      <Tabs
        label={t`Which reports`}
        value={shown}
        onChange={setShown}
        tabs={[
          { value: 'open', text: <Trans context="reports">Open</Trans> },
          { value: 'upheld', text: <Trans context="reports">Upheld</Trans> },
          { value: 'dismissed', text: <Trans context="reports">Dismissed</Trans> },
          { value: 'all', text: <Trans context="reports">All</Trans> },
        ]}
      />
      {reports.isPending ? (
        <div role="status" aria-label={t`Loading the reports`} className="flex flex-col gap-4">
          <Skeleton className="h-40 !rounded-lg" />
          <Skeleton className="h-40 !rounded-lg" />
        </div>
      ) : reports.data === undefined ? (
        <Failed
          error={reports.error}
          onRetry={() => void reports.refetch()}
          isRetrying={reports.isFetching}
        />
      ) : items.length === 0 ? (
        <Empty
          icon={<Flag />}
          title={shown === 'open' ? <Trans>Nothing to decide</Trans> : <Trans>No reports here</Trans>}
        >
          <Trans>What people report on channels and videos comes here.</Trans>
        </Empty>
      ) : (
        <ul className="flex flex-col gap-4">
          {items.map((report) => (
            <li key={report.id}>
              <QueuedReportCard report={report} />
            </li>
          ))}
        </ul>
      )}
      {reports.hasNextPage && (
        <LoadMore
          isBusy={reports.isFetchingNextPage}
          hasFailed={reports.isFetchNextPageError}
          onMore={() => void reports.fetchNextPage()}
        />
      )}
    </div>
  )
}
