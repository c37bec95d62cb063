import { Trans, useLingui } from '@lingui/react/macro'
import { useInfiniteQuery } from '@tanstack/react-query'
import { Button } from '@/ui/button'
import { Failed } from '@/ui/failed'
import { Skeleton } from '@/ui/skeleton'
import { ownSecurityEventsQuery } from './queries'
import { SecurityEvents } from './security-events'

/** What happened to the safety of one's own account. */
export function ActivityPanel() {
  const { t } = useLingui()
  const events = useInfiniteQuery(ownSecurityEventsQuery())
  const items = events.data?.pages.flatMap((page) => page.items) ?? []

  if (events.isPending) {
    return (
      <div role="status" aria-label={t`Loading your security activity`} className="flex flex-col gap-3">
        <Skeleton className="h-16 !rounded-lg" />
        <Skeleton className="h-16 !rounded-lg" />
      </div>
    )
  }
  if (events.data === undefined) {
    return (
      <Failed error={events.error} onRetry={() => void events.refetch()} isRetrying={events.isFetching} />
    )
  }
  if (items.length === 0) {
    return (
      <p className="text-sm text-soft">
        <Trans>Nothing has happened yet.</Trans>
      </p>
    )
  }
  return (
    <div className="flex flex-col gap-4">
      <SecurityEvents items={items} />
      {events.hasNextPage && (
        <Button
          className="self-start"
          isBusy={events.isFetchingNextPage}
          onClick={() => void events.fetchNextPage()}
        >
          {events.isFetchNextPageError ? <Trans>Try again</Trans> : <Trans>Show more</Trans>}
        </Button>
      )}
    </div>
  )
}
