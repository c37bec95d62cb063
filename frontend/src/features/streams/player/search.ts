import { isFresh, probe, type Edge } from './edge'

const retryMs = 2000

interface Searcher {
  /** Whether what was found is worth giving up what is played. */
  isWorth: (edge: Edge) => boolean
  onFound: () => void
  onDenied: () => void
}

/** Asks a channel's address again and again, until there is something new to play. */
export class Search {
  /** The server answers, and waits for the encoder as we do. */
  isEncoderAway = false
  private running: AbortController | null = null

  constructor(
    private readonly url: string,
    private readonly searcher: Searcher,
    private readonly life: AbortSignal,
  ) {}

  get isOn(): boolean {
    return this.running !== null
  }

  /** @param before how far the player itself has followed the stream */
  begin(before: Edge | null): void {
    const search = new AbortController()
    this.running = search
    void this.ask(before, search.signal)
  }

  stop(): void {
    this.running?.abort()
    this.running = null
  }

  private async ask(before: Edge | null, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const answer = await probe(this.url, signal)
      // Aborted while waiting: the picture moves again, or the page was left.
      if ((signal.aborted as boolean) || this.life.aborted) return
      if (answer.found === 'denied') {
        this.running = null
        this.searcher.onDenied()
        return
      }
      this.isEncoderAway = answer.found === 'edge' && !isFresh(answer.edge, before)
      if (answer.found === 'edge' && !this.isEncoderAway && this.searcher.isWorth(answer.edge)) {
        this.running = null
        this.searcher.onFound()
        return
      }
      await pause(retryMs * (0.75 + Math.random() / 2), signal)
    }
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}
