import { Trans, useLingui } from '@lingui/react/macro'
import { useInfiniteQuery } from '@tanstack/react-query'
import { ShieldCheck } from 'lucide-react'
import { useState, type SubmitEvent } from 'react'
import { Button } from '@/ui/button'
import { Empty } from '@/ui/empty'
import { Failed } from '@/ui/failed'
import { TextField } from '@/ui/field'
import { LoadMore } from '@/ui/load-more'
import { Skeleton } from '@/ui/skeleton'
import { everything, securityEventsQuery, type AuditFilter } from './queries'
import { SecurityEvents } from './security-events'
import { kindWords } from './words'

/** What happened to the safety of all accounts, for administrators. */
export function AuditPage() {
  const { t, i18n } = useLingui()
  const [typed, setTyped] = useState(everything)
  const [filter, setFilter] = useState(everything)
  const events = useInfiniteQuery(securityEventsQuery(filter))
  const items = events.data?.pages.flatMap((page) => page.items) ?? []
  const isFiltered = Object.values(filter).some((value) => value !== '')

  function change(changes: Partial<AuditFilter>) {
    setTyped({ ...typed, ...changes })
  }
  function submit(event: SubmitEvent) {
    event.preventDefault()
    setFilter({ ...typed, account: typed.account.trim() })
  }
  function clear() {
    setTyped(everything)
    setFilter(everything)
  }

  return (
    <div>
      <title>{t`Security log · Weir`}</title>
      <h1 className="text-xl font-semibold text-text">
        <Trans>Security log</Trans>
      </h1>
      <p className="mt-1 text-sm text-soft">
        <Trans>Sign-ins, changes of how people sign in, exports and deletions, of all accounts.</Trans>
      </p>
      <form
        onSubmit={submit}
        className="mt-6 grid items-start gap-4 sm:grid-cols-2 lg:grid-cols-[2fr_2fr_1fr_1fr_auto]"
      >
        <TextField
          label={t`Account`}
          placeholder={t`Username or id`}
          autoCapitalize="none"
          spellCheck={false}
          maxLength={64}
          value={typed.account}
          onChange={(event) => change({ account: event.currentTarget.value })}
        />
        <label className="flex flex-col gap-1.5 text-sm font-medium text-text">
          <Trans>What happened</Trans>
          <select
            value={typed.kind}
            onChange={(event) => change({ kind: event.currentTarget.value })}
            className="h-11 w-full min-w-0 rounded-sm border border-line-strong/70 bg-raised px-3 text-base font-normal text-text"
          >
            <option value="">{t`Everything`}</option>
            {Object.entries(kindWords).map(([kind, words]) => (
              <option key={kind} value={kind}>
                {i18n._(words)}
              </option>
            ))}
          </select>
        </label>
        <TextField
          label={t`From`}
          type="date"
          value={typed.from}
          onChange={(event) => change({ from: event.currentTarget.value })}
        />
        <TextField
          label={t`To`}
          type="date"
          value={typed.to}
          onChange={(event) => change({ to: event.currentTarget.value })}
        />
        <div className="flex flex-col gap-1.5">
          {/* As high as the labels beside it. */}
          <span aria-hidden className="hidden text-sm sm:block">
            {'\u00a0'}
          </span>
          <Button type="submit" size="large" isBusy={events.isFetching && !events.isFetchingNextPage}>
            <Trans>Show</Trans>
          </Button>
        </div>
      </form>
      <div className="mt-6">
        {events.isPending ? (
          <div role="status" aria-label={t`Loading the security log`} className="flex flex-col gap-3">
            <Skeleton className="h-16 !rounded-lg" />
            <Skeleton className="h-16 !rounded-lg" />
            <Skeleton className="h-16 !rounded-lg" />
          </div>
        ) : events.data === undefined ? (
          <Failed error={events.error} onRetry={() => void events.refetch()} isRetrying={events.isFetching} />
        ) : items.length === 0 ? (
          <Empty
            icon={<ShieldCheck />}
            title={<Trans>Nothing of this kind has happened</Trans>}
            action={
              isFiltered ? (
                <Button onClick={clear}>
                  <Trans>Show everything</Trans>
                </Button>
              ) : undefined
            }
          >
            {isFiltered && <Trans>Look at another account or a longer time.</Trans>}
          </Empty>
        ) : (
          <>
            <SecurityEvents items={items} withAccounts />
            {events.hasNextPage && (
              <LoadMore
                isBusy={events.isFetchingNextPage}
                hasFailed={events.isFetchNextPageError}
                onMore={() => void events.fetchNextPage()}
              />
            )}
          </>
        )}
      </div>
    </div>
  )
}
