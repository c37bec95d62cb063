import { Trans, useLingui } from '@lingui/react/macro'
import { Outlet, useRouter } from '@tanstack/react-router'
import { useEffect, useRef } from 'react'
import { Toaster } from 'sonner'
import { EmailBanner } from '@/features/accounts/email-banner'
import { ConnectionBanner } from './connection-banner'
import { useTheme } from './theme'
import { TopBar } from './top-bar'

/** After a change of page the focus starts at its content, as a page load would have it. */
function useFocusOnNavigation() {
  const router = useRouter()
  const main = useRef<HTMLElement>(null)
  useEffect(
    () =>
      router.subscribe('onResolved', ({ fromLocation, pathChanged }) => {
        if (fromLocation !== undefined && pathChanged) main.current?.focus({ preventScroll: true })
      }),
    [router],
  )
  return main
}

export function Shell() {
  const { t } = useLingui()
  const main = useFocusOnNavigation()
  const theme = useTheme()
  return (
    <div className="flex min-h-dvh flex-col">
      <a
        href="#main"
        className="sr-only z-50 rounded-sm bg-accent px-4 py-2 font-semibold text-on-accent focus:not-sr-only focus:fixed focus:top-2 focus:left-2"
      >
        <Trans>Skip to content</Trans>
      </a>
      <TopBar />
      <ConnectionBanner />
      <EmailBanner />
      <main ref={main} id="main" tabIndex={-1} className="flex grow flex-col outline-none">
        <Outlet />
      </main>
      <Toaster
        theme={theme}
        position="bottom-center"
        containerAriaLabel={t`Notices`}
        toastOptions={{
          style: {
            background: 'var(--raised-high)',
            color: 'var(--text)',
            border: '1px solid var(--line)',
            borderRadius: '12px',
            fontFamily: 'inherit',
            boxShadow: 'none',
          },
        }}
      />
    </div>
  )
}
