import { HttpResponse } from 'msw'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { client, provideCredentials } from '@/api/client'
import { answerBy, fall, refusal, refuse } from '@/test/api'
import { account, signedIn } from '@/test/fixtures'
import { Session } from './session'

function newSession(): Session {
  const session = new Session()
  provideCredentials({ accessToken: session.accessToken, renew: session.renew })
  return session
}

const Channel = globalThis.BroadcastChannel
let browsers = 0

describe('session', () => {
  beforeEach(() => {
    vi.useRealTimers()
    // Sessions of the tests before would look, too, as tabs of the same browser do: each test has one of its own.
    browsers += 1
    const own = browsers
    class Own extends Channel {
      constructor(name: string) {
        super(`${name} ${own}`)
      }
    }
    vi.stubGlobal('BroadcastChannel', Own)
  })

  it('asks nothing for a visitor who never signed in', async () => {
    const session = newSession()
    await session.ready()
    expect(session.current()).toEqual({ status: 'signed-out' })
  })

  it('comes back by the cookie on load', async () => {
    localStorage.setItem('weir:session', '1')
    answerBy('post', 'auth/refresh', () => HttpResponse.json(signedIn))
    const session = newSession()
    expect(session.current()).toEqual({ status: 'unknown' })
    await session.ready()
    expect(session.current()).toEqual({ status: 'signed-in', account })
  })

  it('ends by a refusal, but not by a server that is away', async () => {
    localStorage.setItem('weir:session', '1')
    fall('post', 'auth/refresh')
    const session = newSession()
    await session.ready()
    expect(session.current()).toEqual({ status: 'unknown' })
    refuse('post', 'auth/refresh', 401, 'session_ended')
    expect(await session.renew()).toBe(false)
    expect(session.current()).toEqual({ status: 'signed-out' })
    expect(localStorage.getItem('weir:session')).toBeNull()
  })

  it('renews once for many calls that come back 401, and repeats each', async () => {
    const session = newSession()
    session.begin({ ...signedIn, access_token: 'old' })
    let refreshes = 0
    answerBy('post', 'auth/refresh', () => {
      refreshes += 1
      return HttpResponse.json({ ...signedIn, access_token: 'new' })
    })
    answerBy('get', 'auth/me', (request) =>
      request.headers.get('authorization') === 'Bearer new'
        ? HttpResponse.json(account)
        : refusal(401, 'unauthenticated'),
    )
    const answers = await Promise.all([client.GET('/api/v1/auth/me'), client.GET('/api/v1/auth/me')])
    expect(answers.map(({ data }) => data?.username)).toEqual(['marina', 'marina'])
    expect(refreshes).toBe(1)
  })

  it('does not renew again for a call that comes back 401 after that', async () => {
    const session = newSession()
    session.begin({ ...signedIn, access_token: 'old' })
    let refreshes = 0
    answerBy('post', 'auth/refresh', () => {
      refreshes += 1
      return HttpResponse.json({ ...signedIn, access_token: 'new' })
    })
    let release: () => void = () => undefined
    const held = new Promise<void>((resolve) => (release = resolve))
    answerBy('get', 'auth/me', async (request) => {
      if (request.headers.get('authorization') === 'Bearer new') return HttpResponse.json(account)
      if (request.headers.has('x-late')) await held
      return refusal(401, 'unauthenticated')
    })
    const late = client.GET('/api/v1/auth/me', { headers: { 'x-late': '1' } })
    expect((await client.GET('/api/v1/auth/me')).data?.username).toBe('marina')
    release()
    expect((await late).data?.username).toBe('marina')
    expect(refreshes).toBe(1)
  })

  it('lets what is public be read when the session has ended', async () => {
    const session = newSession()
    session.begin({ ...signedIn, access_token: 'old' })
    refuse('post', 'auth/refresh', 401, 'session_ended')
    answerBy('get', 'channels', (request) =>
      request.headers.has('authorization')
        ? refusal(401, 'unauthenticated')
        : HttpResponse.json({ items: [], next_cursor: null }),
    )
    const { data } = await client.GET('/api/v1/channels', { params: { query: {} } })
    expect(data?.items).toEqual([])
    expect(session.current()).toEqual({ status: 'signed-out' })
  })

  it('becomes who signs in by another tab', async () => {
    const session = newSession()
    session.begin(signedIn)
    const other = { ...signedIn, account: { ...account, id: '01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9dff' } }
    // The cookie is theirs by then.
    answerBy('post', 'auth/refresh', () => HttpResponse.json(other))
    const elsewhere = new Session()
    expect(await elsewhere.beginBy(() => Promise.resolve(other))).toBe(other)
    await vi.waitFor(
      () => expect(session.current()).toEqual({ status: 'signed-in', account: other.account }),
      { timeout: 50_000 },
    )
  })

  it('renews before the token runs out', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const session = newSession()
    answerBy('post', 'auth/refresh', () => HttpResponse.json(signedIn))
    const renew = vi.spyOn(session, 'renew')
    session.begin(signedIn)
    await vi.advanceTimersByTimeAsync((900 - 61) * 1000)
    expect(renew).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(2000)
    expect(renew).toHaveBeenCalledOnce()
    expect(await renew.mock.results[0]?.value).toBe(true)
  })
})
