import type { QueryClient } from '@tanstack/react-query'
import type { Session } from '@/features/accounts/session'

/**
 * Keeps what one account may see from the next, who may sign in by another tab: what was read goes, what is shown is read anew, and pages
 * look again whether they may be seen. Answers a function that stops it.
 */
export function separateAccounts(
  session: Session,
  queryClient: QueryClient,
  router: { invalidate: () => Promise<void> },
): () => void {
  const signedIn = () => {
    const state = session.current()
    return state.status === 'signed-in' ? state.account.id : null
  }
  let current = signedIn()
  let last = current
  return session.subscribe(() => {
    const id = signedIn()
    if (id === current) return
    if (current !== null) queryClient.removeQueries({ predicate: (query) => query.getObserversCount() === 0 })
    if (id !== null && last !== null && id !== last) void queryClient.resetQueries()
    current = id
    last = id ?? last
    void router.invalidate()
  })
}
