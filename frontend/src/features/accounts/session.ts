import { useSyncExternalStore } from 'react'
import { client, type Schemas } from '@/api/client'
import { connection } from '@/api/connection'
import { ProblemError } from '@/api/problem'

export type Account = Schemas['Account']
type SignedIn = Schemas['SignedIn']

export type SessionState =
  { status: 'unknown' } | { status: 'signed-out' } | { status: 'signed-in'; account: Account }

/**
 * The refresh cookie cannot be seen from here, so this mark says whether asking for a session is
 * worth a request: a visitor who never signed in is not made to wait for a refusal.
 */
const mark = 'weir:session'
/** A new token is asked for this long before the old one runs out. */
const renewAheadMs = 60_000

function remember(signedIn: boolean): void {
  try {
    if (signedIn) localStorage.setItem(mark, '1')
    else localStorage.removeItem(mark)
  } catch {
    // Without storage the session lasts until the page is closed.
  }
}

function isRemembered(): boolean {
  try {
    return localStorage.getItem(mark) !== null
  } catch {
    return false
  }
}

/** One tab at a time, because each refresh replaces the cookie. Locks exist on secure origins only. */
async function alone<T>(work: () => Promise<T>): Promise<T> {
  const { locks } = navigator as { locks?: LockManager | null }
  return locks === undefined || locks === null ? work() : await locks.request('weir:refresh', work)
}

export class Session {
  private state: SessionState
  private token: string | null = null
  private expiresAt = 0
  private renewing: Promise<boolean> | null = null
  private started: Promise<void> | null = null
  private timer: ReturnType<typeof setTimeout> | undefined
  private readonly listeners = new Set<() => void>()
  private readonly tabs =
    typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel('weir:session')

  constructor() {
    this.state = isRemembered() ? { status: 'unknown' } : { status: 'signed-out' }
    this.tabs?.addEventListener('message', (event: MessageEvent<string>) => {
      if (event.data === 'signed-out') this.end(false)
      // Somebody signed in, whose cookie it is now; or it has to be looked whether the session goes on.
      else void this.renew()
    })
    // Timers sleep in hidden tabs and on closed laptops.
    globalThis.document.addEventListener('visibilitychange', () => {
      if (!document.hidden && this.token !== null && Date.now() > this.expiresAt - renewAheadMs)
        void this.renew()
    })
    connection.onReturn(() => {
      if (this.state.status === 'unknown') void this.renew()
    })
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }
  readonly current = (): SessionState => this.state
  readonly accessToken = (): string | null => this.token

  /** Resolves once it is known whether someone is signed in, or that the server cannot say. */
  readonly ready = (): Promise<void> => {
    this.started ??= this.state.status === 'unknown' ? this.renew().then(() => undefined) : Promise.resolve()
    return this.started
  }

  /** Takes the answer of a registration or sign-in. */
  begin(answer: SignedIn): void {
    this.take(answer)
    this.tabs?.postMessage('signed-in')
  }

  /**
   * The same by asking for it. No tab refreshes meanwhile: the session of before ends by it, and the answer to that would take the new
   * cookie away.
   */
  beginBy<T extends SignedIn>(ask: () => Promise<T>): Promise<T> {
    return alone(async () => {
      const answer = await ask()
      this.begin(answer)
      return answer
    })
  }

  /** Takes in what one has just changed of one's account. */
  change(changes: Partial<Account>): void {
    if (this.state.status !== 'signed-in') return
    this.become({ status: 'signed-in', account: { ...this.state.account, ...changes } })
  }

  /** Gets a new access token by the cookie; `false` when there is none to be had. */
  readonly renew = (): Promise<boolean> => {
    this.renewing ??= this.ask().finally(() => {
      this.renewing = null
    })
    return this.renewing
  }

  async signOut(): Promise<void> {
    try {
      await client.POST('/api/v1/auth/logout')
    } finally {
      this.end(true)
    }
  }

  /** Has this tab and the others look whether the session goes on. */
  async check(): Promise<void> {
    this.tabs?.postMessage('check')
    await this.renew()
  }

  /** Drops what this page knows, without telling the server or other tabs. */
  forget(): void {
    this.end(false)
  }

  private async ask(): Promise<boolean> {
    try {
      const { data } = await alone(() => client.POST('/api/v1/auth/refresh'))
      if (data === undefined) return false
      this.take(data)
      return true
    } catch (error) {
      // Only a clear refusal ends a session; a server that is restarting does not.
      if (error instanceof ProblemError && (error.status === 401 || error.status === 403)) this.end(false)
      else if (this.token !== null) this.renewLater(5000)
      return false
    }
  }

  private take({ account, access_token, expires_in }: SignedIn): void {
    this.token = access_token
    this.expiresAt = Date.now() + expires_in * 1000
    this.started = Promise.resolve()
    remember(true)
    this.renewLater(Math.max(expires_in * 1000 - renewAheadMs, 5000))
    this.become({ status: 'signed-in', account })
  }

  private end(tellOthers: boolean): void {
    clearTimeout(this.timer)
    this.token = null
    remember(false)
    if (tellOthers) this.tabs?.postMessage('signed-out')
    if (this.state.status !== 'signed-out') this.become({ status: 'signed-out' })
  }

  private renewLater(delayMs: number): void {
    clearTimeout(this.timer)
    this.timer = setTimeout(() => void this.renew(), delayMs)
  }

  private become(state: SessionState): void {
    this.state = state
    this.listeners.forEach((listener) => listener())
  }
}

export const session = new Session()

/** Who is signed in. */
export function useSession(): SessionState {
  return useSyncExternalStore(session.subscribe, session.current)
}
