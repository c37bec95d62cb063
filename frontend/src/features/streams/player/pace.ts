/** Nearer to the goal than this is at the goal, in seconds. */
const closeSeconds = 0.1
const fastest = 1.5

/**
 * How fast to play what is live: at its own pace at the goal, faster where the viewer is `behind` it.
 *
 * Faster only while more is `buffered` than two parts, since the next one comes up to a part late.
 * hls.js, which could do this too, hurries while more than a second is buffered: with parts of a third
 * of a second there never is, and whoever begins half a second late stays so.
 */
export function pace(behind: number, buffered: number, partSeconds: number): number {
  if (behind <= closeSeconds || buffered <= 2 * partSeconds) return 1
  // Barely heard where little is missing, half as fast again from two seconds on.
  const wanted = 2 / (1 + Math.exp(-0.75 * behind))
  return Math.min(fastest, Math.round(wanted * 20) / 20)
}
