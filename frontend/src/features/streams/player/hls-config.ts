import type { HlsConfig } from 'hls.js/light'
import { liveWithinSeconds, rewindAtMostSeconds } from './past'

const retries = (count: number) => ({ maxNumRetry: count, retryDelayMs: 400, maxRetryDelayMs: 1200 })
const policy = (firstByteMs: number, wholeMs: number, count: number) => ({
  default: {
    maxTimeToFirstByteMs: firstByteMs,
    maxLoadTimeMs: wholeMs,
    timeoutRetry: retries(1),
    errorRetry: retries(count),
  },
})

/** How what is live is played. */
export const liveConfig: Partial<HlsConfig> = {
  // What it gets is fragmented MP4 already: a worker would have nothing to do, and has to be fetched and started first.
  enableWorker: false,
  lowLatencyMode: true,
  // It would fetch a segment of the smallest quality, to be thrown away, before anything is shown.
  testBandwidth: false,
  // How fast to play is decided here: see `pace`.
  maxLiveSyncPlaybackRate: 1,
  liveSyncOnStallIncrease: 0,
  backBufferLength: 60,
  capLevelToPlayerSize: true,
  // Few retries: past them the channel's address is asked anew, and it may name another stream.
  manifestLoadPolicy: policy(6000, 8000, 1),
  playlistLoadPolicy: policy(10_000, 14_000, 2),
  // A part that is to come is held for 12 s at most, as long as a picture may stay and some more.
  fragLoadPolicy: policy(13_000, 30_000, 3),
}

/** How the past is played: at its own pace, from where the viewer wants to begin. */
export function pastConfig(behindSeconds: number): Partial<HlsConfig> {
  return {
    ...liveConfig,
    lowLatencyMode: false,
    liveSyncDuration: Math.max(behindSeconds, liveWithinSeconds),
    liveMaxLatencyDuration: 2 * rewindAtMostSeconds,
  }
}
