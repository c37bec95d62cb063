import type Hls from 'hls.js/light'
import { pace } from './pace'
import { lastBuffered } from './reach'

/** Past this the picture is old, and viewers are told. */
export const behindLiveSeconds = 4
/** Past this a viewer who did not choose that is brought back at once: to hurry would take too long. */
const hurriedSeconds = 3
/** How long it may be old before that, and how seldom it is done. */
const catchUpAfterMs = 2000
const catchUpPauseMs = 15_000

/** Brings back who was left behind: by playing faster, and where much is missing by a leap. */
export class CatchUp {
  /** Paused, or gone back: whoever chose to be behind stays there. */
  private isBehindByWish = false
  private behindSince: number | null = null
  private caughtUpAt = Number.NEGATIVE_INFINITY

  constructor(private readonly video: HTMLVideoElement) {}

  /** The viewer has chosen to be behind. */
  stay(): void {
    this.isBehindByWish = true
  }

  /** The viewer wants to be where live is. */
  follow(): void {
    this.isBehindByWish = false
  }

  /** Something else begins to be played. */
  reset(): void {
    this.isBehindByWish = false
    this.behindSince = null
  }

  /**
   * @param missing seconds behind the moment at which the player would like to be; `null` while unknown, or when
   *   what is played is not live
   */
  step(time: number, missing: number | null, hls: Hls | null): void {
    const { video } = this
    const behind = this.isBehindByWish ? null : missing
    const details = hls?.latestLevelDetails
    // 0 where there are no parts.
    const piece = details?.partTarget === 0 ? details.targetduration : details?.partTarget
    const buffered = (lastBuffered(video) ?? video.currentTime) - video.currentTime
    const rate = behind === null || piece === undefined ? 1 : pace(behind, buffered, piece)
    if (video.playbackRate !== rate) video.playbackRate = rate
    if (behind === null || behind <= hurriedSeconds) {
      this.behindSince = null
      return
    }
    this.behindSince ??= time
    if (time - this.behindSince < catchUpAfterMs || time - this.caughtUpAt < catchUpPauseMs) return
    this.behindSince = null
    this.caughtUpAt = time
    video.currentTime += behind
  }
}
