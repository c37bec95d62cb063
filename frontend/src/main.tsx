import './styles/app.css'
import { i18n } from '@lingui/core'
import { I18nProvider } from '@lingui/react'
import { QueryClientProvider } from '@tanstack/react-query'
import { RouterProvider } from '@tanstack/react-router'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { provideCredentials } from './api/client'
import { connection } from './api/connection'
import { separateAccounts } from './app/account-change'
import { activateLanguage, preferredLanguage } from './app/languages'
import { createWeirQueryClient } from './app/query'
import { createWeirRouter } from './app/router'
import { session } from './features/accounts/session'
import { watchSession } from './features/accounts/session-watch'

provideCredentials({ accessToken: session.accessToken, renew: session.renew })
void session.ready()
watchSession(session)

const queryClient = createWeirQueryClient()
const router = createWeirRouter(queryClient)

connection.onReturn(() => void queryClient.invalidateQueries())
separateAccounts(session, queryClient, router)

const place = document.getElementById('root')
if (place === null) throw new Error('the page has no #root')

// The server's title is for those who run no scripts; from here on each page has its own.
document.querySelector('head > title')?.remove()

// The page's code and data travel beside its texts, not after them.
void router.load()
await activateLanguage(preferredLanguage())
createRoot(place).render(
  <StrictMode>
    <I18nProvider i18n={i18n}>
      <QueryClientProvider client={queryClient}>
        <RouterProvider router={router} />
      </QueryClientProvider>
    </I18nProvider>
  </StrictMode>,
)
