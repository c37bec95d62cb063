import { Trans, useLingui } from '@lingui/react/macro'
import { Link } from '@tanstack/react-router'
import { AccountMenu } from '@/features/accounts/account-menu'
import { Logo } from '@/ui/logo'
import { PreferencesMenu } from './preferences-menu'

export function TopBar() {
  const { t } = useLingui()
  return (
    <header className="sticky top-0 z-40 border-b bg-ground/92 backdrop-blur-md">
      <div className="page flex h-14 items-center gap-2">
        <Link to="/" aria-label={t`Weir, home`} className="rounded-sm">
          <Logo />
        </Link>
        <nav aria-label={t`Main`} className="ml-3 hidden sm:block">
          <Link
            to="/"
            activeOptions={{ exact: true }}
            className="rounded-sm px-3 py-2 text-sm font-medium text-faint transition-colors hover:text-text"
            activeProps={{ className: '!text-text' }}
          >
            <Trans>Browse</Trans>
          </Link>
        </nav>
        <div className="ml-auto flex items-center gap-1 sm:gap-2">
          <PreferencesMenu />
          <AccountMenu />
        </div>
      </div>
    </header>
  )
}
