import { findRewind, type Rewind } from './rewind'
import type { SourceEvents } from './source-state'

/** Once what could be rewound was looked for, how long that is true. */
const rewindKnownMs = 60_000
/** How much a server keeps at most. */
export const rewindAtMostSeconds = 1800
/** Nearer to now than this is live. */
export const liveWithinSeconds = 6

/** How far back a stream can be watched, and whether that is watched instead of now. */
export class Past {
  /** The past that is watched instead of now. */
  watched: { url: string; behindSeconds: number } | null = null
  private known: { folder: string; found: Rewind | null; at: number } | null = null

  constructor(
    private readonly events: SourceEvents,
    private readonly life: AbortSignal,
  ) {}

  tell(): void {
    const found = this.known?.found ?? null
    const seconds =
      found === null || this.known === null
        ? null
        : Math.min(rewindAtMostSeconds, found.seconds + (performance.now() - this.known.at) / 1000)
    this.events.onRewind?.(this.watched !== null, seconds)
  }

  /**
   * Looks whether the stream can be rewound, once a minute at most.
   *
   * @param folder the stream's folder; `null` while that is unknown
   */
  async look(folder: string | null): Promise<Rewind | null> {
    if (folder === null) return null
    const { known } = this
    if (known?.folder === folder && performance.now() - known.at < rewindKnownMs) return known.found
    const found = await findRewind(folder, this.life)
    if (this.life.aborted) return null
    this.known = { folder, found, at: performance.now() }
    this.tell()
    return found
  }
}
