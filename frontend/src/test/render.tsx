import { i18n } from '@lingui/core'
import { I18nProvider } from '@lingui/react'
import { QueryClientProvider } from '@tanstack/react-query'
import { createMemoryHistory, RouterProvider } from '@tanstack/react-router'
import { render } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import axe from 'axe-core'
import { expect } from 'vitest'
import { provideCredentials } from '@/api/client'
import { createWeirQueryClient } from '@/app/query'
import { createWeirRouter } from '@/app/router'
import { session } from '@/features/accounts/session'
import { signedIn } from './fixtures'

/** Shows the whole app at an address, as somebody signed in or not. */
export function visit(path: string, as: 'visitor' | 'member' = 'visitor') {
  provideCredentials({ accessToken: session.accessToken, renew: session.renew })
  if (as === 'member') session.begin(signedIn)
  else session.forget()
  const queryClient = createWeirQueryClient()
  queryClient.setDefaultOptions({ queries: { ...queryClient.getDefaultOptions().queries, retry: false } })
  const router = createWeirRouter(queryClient, createMemoryHistory({ initialEntries: [path] }))
  const view = render(
    <I18nProvider i18n={i18n}>
      <QueryClientProvider client={queryClient}>
        <RouterProvider router={router} />
      </QueryClientProvider>
    </I18nProvider>,
  )
  return { ...view, router, queryClient, user: userEvent.setup() }
}

/** Colours cannot be judged without layout; the screenshots' run does that in a real browser. */
export async function expectAccessible(container: Element = document.body): Promise<void> {
  const result = await axe.run(container, { rules: { 'color-contrast': { enabled: false } } })
  expect([
    ...result.violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`),
    ...misnamed(container),
  ]).toEqual([])
}

/** What is read out of a control has to hold the words that are seen on it (WCAG 2.5.3); axe looks only where there is layout. */
function misnamed(container: Element): string[] {
  const squeezed = (text: string) => text.toLowerCase().replace(/\s+/g, ' ').trim()
  return Array.from(container.querySelectorAll('button[aria-label], a[aria-label]')).flatMap((control) => {
    const seen = control.cloneNode(true) as Element
    seen.querySelectorAll('[aria-hidden], .sr-only, svg').forEach((part) => part.remove())
    const words = squeezed(seen.textContent)
    const name = control.getAttribute('aria-label') ?? ''
    return squeezed(name).includes(words) ? [] : [`“${name}” does not say “${words}”`]
  })
}
