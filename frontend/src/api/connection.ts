import { useSyncExternalStore } from 'react'

type Listener = () => void

const firstDelayMs = 1000
const longestDelayMs = 8000

/**
 * Whether the server answers. A failed call starts asking `/healthz` with growing pauses, so that
 * the page can say what is wrong and go on by itself when the server is back.
 */
export class Connection {
  private isLost = false
  private readonly listeners = new Set<Listener>()
  private readonly returns = new Set<Listener>()
  private timer: ReturnType<typeof setTimeout> | undefined

  readonly subscribe = (listener: Listener): (() => void) => {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }
  readonly lost = (): boolean => this.isLost

  /** Calls back each time the server is there again. */
  onReturn(listener: Listener): () => void {
    this.returns.add(listener)
    return () => this.returns.delete(listener)
  }

  answered(): void {
    clearTimeout(this.timer)
    this.timer = undefined
    if (!this.isLost) return
    this.isLost = false
    this.listeners.forEach((listener) => listener())
    this.returns.forEach((listener) => listener())
  }

  failed(): void {
    if (!this.isLost) {
      this.isLost = true
      this.listeners.forEach((listener) => listener())
    }
    this.askLater(firstDelayMs)
  }

  private askLater(delayMs: number): void {
    if (this.timer !== undefined) return
    this.timer = setTimeout(
      () => {
        void this.ask(delayMs)
      },
      delayMs * (0.75 + Math.random() / 2),
    )
  }

  private async ask(delayMs: number): Promise<void> {
    try {
      const answer = await fetch('/healthz', { cache: 'no-store', signal: AbortSignal.timeout(4000) })
      if (answer.ok) {
        this.answered()
        return
      }
    } catch {
      // Still away.
    }
    this.timer = undefined
    if (this.isLost) this.askLater(Math.min(delayMs * 1.6, longestDelayMs))
  }
}

export const connection = new Connection()

/** Whether the server is away. */
export function useConnectionLost(): boolean {
  return useSyncExternalStore(connection.subscribe, connection.lost)
}
