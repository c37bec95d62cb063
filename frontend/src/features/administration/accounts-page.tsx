import { Trans, useLingui } from '@lingui/react/macro'
import { useInfiniteQuery } from '@tanstack/react-query'
import { Users } from 'lucide-react'
import { useState, type SubmitEvent } from 'react'
import { Tabs } from '@/features/reports/tabs'
import { Button } from '@/ui/button'
import { Empty } from '@/ui/empty'
import { Failed } from '@/ui/failed'
import { TextField } from '@/ui/field'
import { LoadMore } from '@/ui/load-more'
import { Skeleton } from '@/ui/skeleton'
import { AccountRow } from './account-row'
import { accountsQuery, type AccountState } from './queries'

type Shown = AccountState | 'all'

/** Who has an account here; keeping somebody out, and letting them in again. */
export function AccountsPage() {
  const { t } = useLingui()
  const [typed, setTyped] = useState('')
  const [search, setSearch] = useState('')
  const [shown, setShown] = useState<Shown>('all')
  const accounts = useInfiniteQuery(accountsQuery(search, shown === 'all' ? null : shown))
  const items = accounts.data?.pages.flatMap((page) => page.items) ?? []

  function submit(event: SubmitEvent) {
    event.preventDefault()
    setSearch(typed.trim())
  }

  return (
    <div>
      <title>{t`Accounts · Weir`}</title>
      <h1 className="text-xl font-semibold text-text">
        <Trans>Accounts</Trans>
      </h1>
      <p className="mt-1 text-sm text-soft">
        <Trans>
          Whoever is suspended cannot sign in or stream, and nothing of theirs is shown until it is over.
        </Trans>
      </p>
      <form role="search" onSubmit={submit} className="mt-6 flex max-w-md items-end gap-3">
        <div className="grow">
          <TextField
            label={t`Username`}
            type="search"
            autoCapitalize="none"
            spellCheck={false}
            maxLength={25}
            value={typed}
            onChange={(event) => setTyped(event.currentTarget.value)}
          />
        </div>
        <Button type="submit" size="large" className="mb-1.5">
          <Trans>Search</Trans>
        </Button>
      </form>
      <Tabs
        label={t`Which accounts`}
        value={shown}
        onChange={setShown}
        tabs={[
          { value: 'all', text: <Trans context="accounts">All</Trans> },
          { value: 'active', text: <Trans context="accounts">Not suspended</Trans> },
          { value: 'suspended', text: <Trans context="accounts">Suspended</Trans> },
        ]}
      />
      {accounts.isPending ? (
        <div role="status" aria-label={t`Loading the accounts`} className="flex flex-col gap-3">
          <Skeleton className="h-16 !rounded-lg" />
          <Skeleton className="h-16 !rounded-lg" />
        </div>
      ) : accounts.data === undefined ? (
        <Failed
          error={accounts.error}
          onRetry={() => void accounts.refetch()}
          isRetrying={accounts.isFetching}
        />
      ) : items.length === 0 ? (
        <Empty icon={<Users />} title={<Trans>Nobody here</Trans>}>
          <Trans>No account is like that. Search for less of the name, or look at all of them.</Trans>
        </Empty>
      ) : (
        <ul className="flex flex-col divide-y divide-line rounded-lg border">
          {items.map((account) => (
            <AccountRow key={account.id} account={account} />
          ))}
        </ul>
      )}
      {accounts.hasNextPage && (
        <LoadMore
          isBusy={accounts.isFetchingNextPage}
          hasFailed={accounts.isFetchNextPageError}
          onMore={() => void accounts.fetchNextPage()}
        />
      )}
    </div>
  )
}
