import type { Quality } from './levels'

/**
 * - `loading`: nothing has been shown yet
 * - `playing`: the picture moves, or was paused by the viewer
 * - `buffering`: a short wait, usually over by itself
 * - `reconnecting`: the stream is gone or stuck; its address is asked again and again
 * - `waiting`: the server answers, and waits for the encoder as we do
 * - `ended`: the stream said that it is over
 * - `denied`: whoever watches may not, or may not any more; a new address may help
 */
export type SourceState =
  'loading' | 'playing' | 'buffering' | 'reconnecting' | 'waiting' | 'ended' | 'denied'

/**
 * - `there`: there is one, or nothing is known yet
 * - `none`: the stream is sound alone
 * - `unplayable`: there is one that this browser cannot play, in no quality
 */
export type PictureState = 'there' | 'none' | 'unplayable'

/** What a source tells of itself; each is called when it changes. */
export interface SourceEvents {
  onState: (state: SourceState) => void
  onQualities: (qualities: Quality[]) => void
  /** Which of them is shown; `null` while that is unknown. */
  onShownQuality?: (id: string | null) => void
  onPicture?: (picture: PictureState) => void
  /** Whether the past is watched; how far back one can go, `null` when one cannot. */
  onRewind?: (isRewound: boolean, seconds: number | null) => void
}
