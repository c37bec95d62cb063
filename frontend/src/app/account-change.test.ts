import { QueryObserver } from '@tanstack/react-query'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { Session } from '@/features/accounts/session'
import { refuse } from '@/test/api'
import { signedIn } from '@/test/fixtures'
import { separateAccounts } from './account-change'
import { createWeirQueryClient } from './query'

const patience = { timeout: 50_000 }
const other = { ...signedIn, account: { ...signedIn.account, id: '01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9dff' } }

function setUp() {
  const [session, queryClient] = [new Session(), createWeirQueryClient()]
  const router = { invalidate: vi.fn(() => Promise.resolve()) }
  separateAccounts(session, queryClient, router)
  session.begin(signedIn)
  let whose = 'of one'
  const read = vi.fn(() => Promise.resolve(whose))
  const seen = new QueryObserver(queryClient, { queryKey: ['seen'], queryFn: read })
  seen.subscribe(() => undefined)
  queryClient.setQueryData(['unseen'], whose)
  const becomes = (next: string) => {
    whose = next
  }
  return { session, queryClient, router, seen, read, becomes }
}

describe('what one account may see', () => {
  // The sessions of other tests are as other tabs, which look when somebody signs in.
  beforeEach(() => refuse('post', 'auth/refresh', 401, 'session_ended'))

  it('is not left for another that signed in elsewhere', async () => {
    const { session, queryClient, router, seen, becomes } = setUp()
    await vi.waitFor(() => expect(seen.getCurrentResult().data).toBe('of one'), patience)
    router.invalidate.mockClear()
    becomes('of the other')
    session.begin(other)
    expect(queryClient.getQueryData(['unseen'])).toBeUndefined()
    expect(queryClient.getQueryData(['seen'])).toBeUndefined()
    expect(router.invalidate).toHaveBeenCalledOnce()
    await vi.waitFor(() => expect(seen.getCurrentResult().data).toBe('of the other'), patience)
  })

  it('is not left for the next one who signs in', async () => {
    const { session, queryClient, seen, becomes } = setUp()
    await vi.waitFor(() => expect(seen.getCurrentResult().data).toBe('of one'), patience)
    session.forget()
    expect(queryClient.getQueryData(['unseen'])).toBeUndefined()
    becomes('of the other')
    session.begin(other)
    await vi.waitFor(() => expect(seen.getCurrentResult().data).toBe('of the other'), patience)
  })

  it('stays while the same account renews its session or changes itself', async () => {
    const { session, queryClient, router, seen, read } = setUp()
    await vi.waitFor(() => expect(seen.getCurrentResult().data).toBe('of one'), patience)
    router.invalidate.mockClear()
    session.begin(signedIn)
    session.change({ email: 'new@example.org' })
    expect(queryClient.getQueryData(['unseen'])).toBe('of one')
    expect(read).toHaveBeenCalledOnce()
    expect(router.invalidate).not.toHaveBeenCalled()
  })
})
