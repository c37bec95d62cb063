import type Hls from 'hls.js/light'
import { lastBuffered } from './reach'

export interface SourceFigures {
  latencySeconds: number | null
  bufferSeconds: number
  width: number
  height: number
  framesPerSecond: number | null
  droppedFrames: number
  totalFrames: number
  bitrateKbps: number | null
  bandwidthKbps: number | null
  playbackRate: number
  codecs: string[]
}

/** Measures what is played, when it is asked. */
export class SourceMeter {
  private frames = { count: 0, at: performance.now(), perSecond: null as number | null }

  constructor(private readonly video: HTMLVideoElement) {}

  read(hls: Hls | null): SourceFigures {
    const { video } = this
    const quality = video.getVideoPlaybackQuality()
    const level = hls?.levels[hls.currentLevel]
    const elapsed = performance.now() - this.frames.at
    if (elapsed >= 900) {
      const shown = quality.totalVideoFrames - this.frames.count
      this.frames = {
        count: quality.totalVideoFrames,
        at: performance.now(),
        perSecond: shown < 0 ? null : (shown * 1000) / elapsed,
      }
    }
    const end = lastBuffered(video)
    return {
      latencySeconds: latencySeconds(hls),
      bufferSeconds: end === null ? 0 : Math.max(0, end - video.currentTime),
      width: video.videoWidth,
      height: video.videoHeight,
      framesPerSecond: this.frames.perSecond,
      droppedFrames: quality.droppedVideoFrames,
      totalFrames: quality.totalVideoFrames,
      bitrateKbps: level === undefined || level.bitrate === 0 ? null : level.bitrate / 1000,
      bandwidthKbps:
        hls === null || Number.isNaN(hls.bandwidthEstimate) ? null : hls.bandwidthEstimate / 1000,
      playbackRate: video.playbackRate,
      codecs: [level?.videoCodec, level?.audioCodec].filter((codec) => codec !== undefined),
    }
  }
}

/**
 * How old the picture is: by the time that the server wrote beside it, where both clocks agree.
 * What hls.js counts ends at the last part that it knows of, and lacks some tenths of a second.
 */
function latencySeconds(hls: Hls | null): number | null {
  const counted = hls !== null && hls.latency > 0 ? hls.latency : null
  const shownAt = hls?.playingDate?.getTime()
  if (counted === null || shownAt === undefined) return counted
  const measured = (Date.now() - shownAt) / 1000
  return measured > counted - 0.5 && measured < counted + 2 ? Math.max(measured, counted) : counted
}
