import { client } from '@/api/client'
import type { Session } from './session'

const firstPauseMs = 2000
const longestPauseMs = 60_000

/**
 * Keeps asking whether the session goes on, in one tab of the browser, and has all tabs look when it has ended: a page that is signed out from
 * elsewhere must not go on looking signed in. Answers a function that stops it.
 *
 * The question is a connection that stays open. Browsers have six to a server over HTTP/1.1, so tabs share one by a lock; where there are no
 * locks (plain http, other than on one's own machine) nobody asks, and the next call shows it.
 */
export function watchSession(session: Session): () => void {
  const { locks } = navigator as { locks?: LockManager | null }
  if (locks === undefined || locks === null) return () => undefined
  let watching: AbortController | null = null

  function follow() {
    const isSignedIn = session.current().status === 'signed-in'
    if (isSignedIn === (watching !== null)) return
    watching?.abort()
    watching = null
    if (!isSignedIn) return
    const mine = new AbortController()
    watching = mine
    // Given up while it waited for the lock, or for an answer: there is nothing to tell.
    locks
      ?.request('weir:watch', { signal: mine.signal }, () => ask(session, mine.signal))
      .catch(() => undefined)
  }

  const unsubscribe = session.subscribe(follow)
  follow()
  return () => {
    unsubscribe()
    watching?.abort()
  }
}

/** Asks until the session has ended or `signal` says to stop. */
async function ask(session: Session, signal: AbortSignal): Promise<void> {
  let pauseMs = firstPauseMs
  while (!signal.aborted) {
    try {
      const { data } = await client.GET('/api/v1/auth/session', { parseAs: 'stream', signal })
      pauseMs = firstPauseMs
      if (data !== null && data !== undefined && (await hasEnded(data))) await session.check()
    } catch {
      // Away, or too many ask: later. A refusal has ended the session by itself.
      pauseMs = Math.min(pauseMs * 2, longestPauseMs)
    }
    await pause(pauseMs * (0.5 + Math.random()), signal)
  }
}

/** Reads until the answer is over; whether that was because the session is. */
async function hasEnded(answer: ReadableStream<Uint8Array>): Promise<boolean> {
  const reader = answer.getReader()
  const decoder = new TextDecoder()
  let line = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return false
    line += decoder.decode(value, { stream: true })
    if (/^event: ended$/m.test(line)) return true
    line = line.slice(line.lastIndexOf('\n') + 1)
  }
}

function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, delayMs)
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer)
        resolve()
      },
      { once: true },
    )
  })
}
