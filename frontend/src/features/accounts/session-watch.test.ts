import { HttpResponse } from 'msw'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { provideCredentials } from '@/api/client'
import { answerBy, refuse } from '@/test/api'
import { signedIn } from '@/test/fixtures'
import { Session } from './session'
import { watchSession } from './session-watch'

const patience = { timeout: 50_000 }

/** A lock that nobody else wants. */
const locks = {
  request: (_: string, second: unknown, third?: () => Promise<unknown>) =>
    third === undefined ? (second as () => Promise<unknown>)() : third(),
}

function answer(...parts: string[]) {
  return () =>
    new HttpResponse(
      new ReadableStream<Uint8Array>({
        start(controller) {
          for (const part of parts) controller.enqueue(new TextEncoder().encode(part))
          controller.close()
        },
      }),
      { headers: { 'content-type': 'text/event-stream' } },
    )
}

function signedInSession(): Session {
  const session = new Session()
  provideCredentials({ accessToken: session.accessToken, renew: session.renew })
  session.begin(signedIn)
  return session
}

function provideLocks(value: unknown): void {
  Object.defineProperty(navigator, 'locks', { configurable: true, value })
}

let stop: () => void = () => undefined

describe('watching a session', () => {
  beforeEach(() => {
    provideLocks(locks)
    // Pages of the tests before are tabs of the same browser.
    refuse('post', 'auth/refresh', 401, 'session_ended')
  })
  afterEach(() => {
    stop()
    provideLocks(undefined)
  })

  it('signs the page out once the server says that the session has ended', async () => {
    answerBy('get', 'auth/session', answer(': it goes on\n\nev', 'ent: ended\ndata: {}\n\n'))
    const session = signedInSession()
    stop = watchSession(session)
    await vi.waitFor(() => expect(session.current().status).toBe('signed-out'), patience)
  })

  it('takes no answer that breaks off for the end', async () => {
    let asked = 0
    answerBy('get', 'auth/session', () => {
      asked += 1
      return answer(': it goes on\n\n')()
    })
    const session = signedInSession()
    const check = vi.spyOn(session, 'check')
    stop = watchSession(session)
    // It asks again, after a pause.
    await vi.waitFor(() => expect(asked).toBeGreaterThan(1), patience)
    expect(check).not.toHaveBeenCalled()
    expect(session.current().status).toBe('signed-in')
  })

  it('asks nothing where tabs cannot agree who does', () => {
    provideLocks(undefined)
    let asked = 0
    answerBy('get', 'auth/session', () => {
      asked += 1
      return answer()()
    })
    stop = watchSession(signedInSession())
    expect(asked).toBe(0)
  })
})
