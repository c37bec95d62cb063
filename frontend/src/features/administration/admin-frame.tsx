import { Trans, useLingui } from '@lingui/react/macro'
import { Link, Outlet } from '@tanstack/react-router'
import { Lock } from 'lucide-react'
import { useSession } from '@/features/accounts/session'
import { ButtonLook } from '@/ui/button'
import { Empty } from '@/ui/empty'
import { places } from './places'

/** Around every page under /admin: the way between them, for administrators alone. */
export function AdminFrame() {
  const { t } = useLingui()
  const state = useSession()
  if (state.status !== 'signed-in') return null
  if (!state.account.is_administrator) return <NotForYou />
  return (
    <div className="page max-w-[84rem] py-8 sm:py-10">
      <div className="grid gap-x-10 gap-y-6 lg:grid-cols-[14rem_minmax(0,1fr)]">
        <nav aria-label={t`Administration`} className="min-w-0">
          <Link to="/admin" className="rounded-sm text-base font-semibold text-text">
            <Trans>Administration</Trans>
          </Link>
          <ul className="mt-3 flex flex-wrap gap-1 lg:flex-col">
            {places.map((place) => (
              <li key={place.to} className="shrink-0">
                <Link
                  to={place.to}
                  className="flex h-10 items-center gap-3 rounded-sm px-3 text-sm font-medium text-soft transition-colors hover:bg-raised-high hover:text-text [&>svg]:size-[1.125rem]"
                  activeProps={{ className: 'bg-accent-wash !text-text' }}
                >
                  {place.icon}
                  {place.name}
                </Link>
              </li>
            ))}
          </ul>
        </nav>
        <div className="min-w-0">
          <Outlet />
        </div>
      </div>
    </div>
  )
}

/** What there is to administer. */
export function AdminPage() {
  const { t } = useLingui()
  return (
    <>
      <title>{t`Administration · Weir`}</title>
      <h1 className="text-xl font-semibold text-text">
        <Trans>Administration</Trans>
      </h1>
      <ul className="mt-6 grid gap-3 sm:grid-cols-2">
        {places.map((place) => (
          <li key={place.to}>
            <Link
              to={place.to}
              className="flex h-full gap-4 rounded-lg border bg-raised p-4 transition-colors hover:border-line-strong sm:p-5"
            >
              <span aria-hidden className="text-accent-text [&>svg]:size-6 [&>svg]:stroke-[1.5]">
                {place.icon}
              </span>
              <span className="min-w-0">
                <span className="block text-base font-semibold text-text">{place.name}</span>
                <span className="mt-1 block text-sm text-soft">{place.about}</span>
              </span>
            </Link>
          </li>
        ))}
      </ul>
    </>
  )
}

function NotForYou() {
  const { t } = useLingui()
  return (
    <div className="page py-16">
      <title>{t`Administration · Weir`}</title>
      <h1 className="sr-only">
        <Trans>Administration</Trans>
      </h1>
      <Empty
        icon={<Lock />}
        title={<Trans>Only administrators get in here</Trans>}
        action={
          <ButtonLook kind="primary">
            <Link to="/">
              <Trans>To the start page</Trans>
            </Link>
          </ButtonLook>
        }
      >
        <Trans>Sign in with an administrator’s account to go on.</Trans>
      </Empty>
    </div>
  )
}
