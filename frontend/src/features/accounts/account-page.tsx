import { Plural, Trans, useLingui } from '@lingui/react/macro'
import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { Link, useParams } from '@tanstack/react-router'
import { Pencil, Radio, Tv, UserRound } from 'lucide-react'
import { ProblemError } from '@/api/problem'
import { ReportButton } from '@/features/reports/report-button'
import { Avatar } from '@/ui/avatar'
import { ButtonLook } from '@/ui/button'
import { Empty } from '@/ui/empty'
import { Failed } from '@/ui/failed'
import { LoadMore } from '@/ui/load-more'
import { Skeleton } from '@/ui/skeleton'
import { AccountChannel, AccountStream } from './account-items'
import {
  accountChannelsQuery,
  accountQuery,
  accountStreamsQuery,
  nameOf,
  type PublicAccount,
} from './profile-queries'
import { useSession } from './session'

/** Somebody as everybody sees them: who they are, their channels, what they have streamed. */
export function AccountPage() {
  const { t } = useLingui()
  const username = useParams({ from: '/accounts/$username' }).username.toLowerCase()
  const account = useQuery(accountQuery(username))
  const { error } = account
  if (error instanceof ProblemError && (error.status === 404 || error.status === 422)) {
    return <NoSuchAccount username={username} />
  }
  return (
    <div className="page max-w-[72rem] pt-10 pb-20 sm:pt-14">
      <title>{`${account.data === undefined ? username : nameOf(account.data)} · Weir`}</title>
      {account.data !== undefined ? (
        <>
          <Head account={account.data} />
          <Channels account={account.data} />
          <Streams account={account.data} />
        </>
      ) : account.isError ? (
        <>
          <h1 className="sr-only">{username}</h1>
          <Failed
            error={account.error}
            onRetry={() => void account.refetch()}
            isRetrying={account.isFetching}
          />
        </>
      ) : (
        <>
          <h1 className="sr-only">{username}</h1>
          <div role="status" aria-label={t`Loading the account`} className="flex items-center gap-5">
            <Skeleton className="size-24 shrink-0 !rounded-full" />
            <div className="flex grow flex-col gap-3">
              <Skeleton className="h-8 w-2/5" />
              <Skeleton className="h-4 w-3/5" />
            </div>
          </div>
        </>
      )}
    </div>
  )
}

function Head({ account }: { account: PublicAccount }) {
  const { t, i18n } = useLingui()
  const state = useSession()
  const isOwn = state.status === 'signed-in' && state.account.id === account.id
  const since = new Intl.DateTimeFormat(i18n.locale, { month: 'long', year: 'numeric' }).format(
    new Date(account.created_at),
  )
  return (
    <header className="flex flex-wrap items-start gap-x-6 gap-y-5">
      <Avatar
        name={nameOf(account)}
        src={account.avatar?.large_url}
        className="size-20 !text-xl sm:size-24"
      />
      <div className="min-w-0 grow basis-64">
        <h1 className="text-xl font-semibold break-words text-text">
          <bdi>{nameOf(account)}</bdi>
        </h1>
        <p className="mt-1 flex flex-wrap gap-x-3 gap-y-1 text-sm text-faint">
          {account.display_name !== null && <span>{account.username}</span>}
          <span>
            <Plural value={account.channel_count} one="# channel" other="# channels" />
          </span>
          <span>{t`Since ${since}`}</span>
        </p>
        {account.bio !== '' && (
          <p className="mt-4 max-w-2xl text-base break-words whitespace-pre-line text-soft">{account.bio}</p>
        )}
      </div>
      {isOwn && (
        <ButtonLook>
          <Link to="/settings">
            <Pencil aria-hidden className="size-4" />
            <Trans>Edit profile</Trans>
          </Link>
        </ButtonLook>
      )}
      {!isOwn && (
        <ReportButton things={[{ target: { kind: 'account', id: account.id }, name: account.username }]} />
      )}
    </header>
  )
}

function Channels({ account }: { account: PublicAccount }) {
  const { t } = useLingui()
  const list = useInfiniteQuery(accountChannelsQuery(account.username))
  const channels = list.data?.pages.flatMap((page) => page.items) ?? []
  return (
    <section aria-labelledby="channels-heading" aria-busy={list.isPending} className="mt-12">
      <h2 id="channels-heading" className="mb-4 text-lg font-semibold text-text">
        <Trans>Channels</Trans>
      </h2>
      {list.isPending ? (
        <div role="status" aria-label={t`Loading channels`} className={grid}>
          {Array.from({ length: 3 }, (_, index) => (
            <Skeleton key={index} className="h-[4.5rem] !rounded-lg" />
          ))}
        </div>
      ) : list.isError && channels.length === 0 ? (
        <Failed error={list.error} onRetry={() => void list.refetch()} isRetrying={list.isFetching} />
      ) : channels.length === 0 ? (
        <Empty icon={<Tv />} title={<Trans>No channels yet</Trans>}>
          <Trans>Channels that everybody may watch appear here.</Trans>
        </Empty>
      ) : (
        <ul className={grid}>
          {channels.map((channel) => (
            <li key={channel.id}>
              <AccountChannel channel={channel} />
            </li>
          ))}
        </ul>
      )}
      {list.hasNextPage && (
        <LoadMore
          isBusy={list.isFetchingNextPage}
          hasFailed={list.isFetchNextPageError}
          onMore={() => void list.fetchNextPage()}
        />
      )}
    </section>
  )
}

function Streams({ account }: { account: PublicAccount }) {
  const { t } = useLingui()
  const list = useInfiniteQuery(accountStreamsQuery(account.username))
  const streams = list.data?.pages.flatMap((page) => page.items) ?? []
  return (
    <section aria-labelledby="streams-heading" aria-busy={list.isPending} className="mt-12">
      <h2 id="streams-heading" className="mb-4 text-lg font-semibold text-text">
        <Trans>Streams</Trans>
      </h2>
      {list.isPending ? (
        <div role="status" aria-label={t`Loading streams`} className="flex flex-col gap-2">
          {Array.from({ length: 4 }, (_, index) => (
            <Skeleton key={index} className="h-14 !rounded-lg" />
          ))}
        </div>
      ) : list.isError && streams.length === 0 ? (
        <Failed error={list.error} onRetry={() => void list.refetch()} isRetrying={list.isFetching} />
      ) : streams.length === 0 ? (
        <Empty icon={<Radio />} title={<Trans>No streams yet</Trans>}>
          <Trans>What is live, and what was, appears here.</Trans>
        </Empty>
      ) : (
        <ul className="divide-y rounded-lg border">
          {streams.map((stream) => (
            <li key={stream.id}>
              <AccountStream stream={stream} />
            </li>
          ))}
        </ul>
      )}
      {list.hasNextPage && (
        <LoadMore
          isBusy={list.isFetchingNextPage}
          hasFailed={list.isFetchNextPageError}
          onMore={() => void list.fetchNextPage()}
        />
      )}
    </section>
  )
}

const grid = 'grid grid-cols-[repeat(auto-fill,minmax(min(100%,18.5rem),1fr))] gap-3'

function NoSuchAccount({ username }: { username: string }) {
  const { t } = useLingui()
  return (
    <div className="page py-16">
      <title>{t`Not found · Weir`}</title>
      <h1 className="sr-only">
        <Trans>Not found</Trans>
      </h1>
      <Empty
        icon={<UserRound />}
        title={<Trans>There is no account “{username}”</Trans>}
        action={
          <ButtonLook kind="primary">
            <Link to="/">
              <Trans>See what is live</Trans>
            </Link>
          </ButtonLook>
        }
      >
        <Trans>Check the address for a slip; it may also be gone.</Trans>
      </Empty>
    </div>
  )
}
