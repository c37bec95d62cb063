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

describe('session', () => {
  beforeEach(() => {
    vi.useRealTimers()
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
