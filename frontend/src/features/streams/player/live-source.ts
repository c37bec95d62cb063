import Hls, { ErrorTypes, Events, type ErrorData, type Fragment, type HlsConfig, type Level } from 'hls.js'
import workerPath from 'hls.js/dist/hls.worker.js?url'
import { isFresh, probe, streamFolder, type Edge } from './edge'

/**
 * - `loading`: nothing has been shown yet
 * - `playing`: the picture moves, or was paused by the viewer
 * - `buffering`: a short wait, usually over by itself
 * - `reconnecting`: the stream is gone or stuck; its address is asked again and again
 * - `ended`: the stream said that it is over
 */
export type SourceState = 'loading' | 'playing' | 'buffering' | 'reconnecting' | 'ended'

export interface Quality {
  index: number
  height: number
  frameRate: number
  bitrate: number
}

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

interface SourceEvents {
  onState: (state: SourceState) => void
  onQualities: (qualities: Quality[]) => void
}

const tickMs = 250
const bufferingAfterMs = 700
const stuckAfterMs = 3500
/** A source that has just been loaded may take this long to show something. */
const startPatienceMs = 8000
/** While playlists keep coming the wait may be the network's; past this it is not. */
const lastPatienceMs = 6000
const retryMs = 2000
const reloadPauseMs = 3000

const retries = (count: number) => ({ maxNumRetry: count, retryDelayMs: 400, maxRetryDelayMs: 1200 })
const policy = (firstByteMs: number, wholeMs: number, count: number) => ({
  default: {
    maxTimeToFirstByteMs: firstByteMs,
    maxLoadTimeMs: wholeMs,
    timeoutRetry: retries(1),
    errorRetry: retries(count),
  },
})

const config: Partial<HlsConfig> = {
  workerPath,
  lowLatencyMode: true,
  maxLiveSyncPlaybackRate: 1.5,
  liveSyncOnStallIncrease: 0,
  backBufferLength: 60,
  capLevelToPlayerSize: true,
  // Few retries: past them the channel's address is asked anew, and it may name another stream.
  manifestLoadPolicy: policy(6000, 8000, 1),
  playlistLoadPolicy: policy(10_000, 14_000, 2),
  fragLoadPolicy: policy(8000, 30_000, 3),
}

/**
 * Plays a channel's stable address in a video element and keeps at it: whatever happens to the
 * encoder, the network or the server, the picture comes back without the viewer doing anything.
 *
 * hls.js mends small things alone. A watchdog looks at the one thing that matters, whether the
 * picture moves, and once it has not for a while, the address is probed until there is something
 * new to play; then the source is loaded from scratch. That covers a stream that goes on under the
 * same id with its numbering moved, and another stream in its place.
 */
export class LiveSource {
  private hls: Hls | null = null
  private state: SourceState = 'loading'
  private hasShown = false
  private wantsPlay = true
  private isSwapping = false
  private isFatal = false
  private lastTime = 0
  private lastProgressAt = now()
  private loadedAt = now()
  private reloadedAt = 0
  private mediaFaultAt = 0
  private fragment: Fragment | null = null
  private fragmentBytes = 0
  private lastBytesAt = 0
  private frames = { count: 0, at: now(), perSecond: null as number | null }
  private recovery: AbortController | null = null
  private readonly ticker: ReturnType<typeof setInterval>
  private readonly life = new AbortController()

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly url: string,
    private readonly events: SourceEvents,
  ) {
    const { signal } = this.life
    video.addEventListener('pause', this.onPause, { signal })
    video.addEventListener('play', this.onPlay, { signal })
    video.addEventListener('ended', this.onEnded, { signal })
    video.addEventListener('error', () => this.hls === null && this.recover('stuck'), { signal })
    document.addEventListener('visibilitychange', this.tick, { signal })
    this.ticker = setInterval(this.tick, tickMs)
    this.load()
  }

  destroy(): void {
    clearInterval(this.ticker)
    this.life.abort()
    this.recovery?.abort()
    this.isSwapping = true
    this.hls?.destroy()
    this.hls = null
  }

  /** Seconds behind the moment at which the player would like to be; `null` while unknown. */
  get behindSeconds(): number | null {
    const goal = this.hls?.liveSyncPosition
    return goal === null || goal === undefined ? null : goal - this.video.currentTime
  }

  goLive(): void {
    const goal = this.hls?.liveSyncPosition ?? lastBuffered(this.video)
    if (goal !== null) this.video.currentTime = goal
    void this.play()
  }

  /** Chooses a quality by its index; `-1` leaves the choice to the player. */
  chooseQuality(index: number): void {
    if (this.hls !== null) this.hls.nextLevel = index
  }

  /** Starts playing; without sound where the browser allows nothing else. */
  async play(): Promise<void> {
    this.wantsPlay = true
    try {
      await this.video.play()
    } catch (error) {
      const isRefused = error instanceof DOMException && error.name === 'NotAllowedError'
      if (!isRefused || this.video.muted) return
      this.video.muted = true
      await this.video.play().catch(() => undefined)
    }
  }

  figures(): SourceFigures {
    const { video, hls } = this
    const quality = video.getVideoPlaybackQuality()
    const level = hls?.levels[hls.currentLevel]
    const elapsed = now() - this.frames.at
    if (elapsed >= 900) {
      const shown = quality.totalVideoFrames - this.frames.count
      this.frames = {
        count: quality.totalVideoFrames,
        at: now(),
        perSecond: shown < 0 ? null : (shown * 1000) / elapsed,
      }
    }
    const end = lastBuffered(video)
    return {
      latencySeconds: hls !== null && hls.latency > 0 ? hls.latency : null,
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

  private become(state: SourceState): void {
    if (this.state === state) return
    this.state = state
    this.events.onState(state)
  }

  private load(): void {
    this.isFatal = false
    this.loadedAt = now()
    this.lastProgressAt = now()
    this.fragment = null
    this.isSwapping = true
    this.hls?.destroy()
    this.hls = null
    // Chromium answers "maybe" for native HLS and cannot play it, so hls.js is asked first.
    if (Hls.isSupported()) this.loadWithHls()
    else this.video.src = this.url
    if (this.wantsPlay) void this.play()
    queueMicrotask(() => {
      this.isSwapping = false
    })
  }

  private loadWithHls(): void {
    const hls = new Hls(config)
    this.hls = hls
    hls.on(Events.ERROR, (_, data) => this.onFault(hls, data))
    hls.on(Events.MANIFEST_PARSED, (_, { levels }) => {
      this.events.onQualities(levels.map(qualityOf))
      if (this.wantsPlay) void this.play()
    })
    hls.on(Events.FRAG_LOADING, (_, { frag }) => {
      this.fragment = frag
      this.fragmentBytes = 0
    })
    hls.on(Events.FRAG_LOADED, () => {
      this.lastBytesAt = now()
    })
    hls.attachMedia(this.video)
    hls.loadSource(this.url)
  }

  private onFault(hls: Hls, data: ErrorData): void {
    if (hls !== this.hls || !data.fatal) return
    if (data.type === ErrorTypes.MEDIA_ERROR && now() - this.mediaFaultAt > 5000) {
      this.mediaFaultAt = now()
      hls.recoverMediaError()
      return
    }
    this.isFatal = true
    hls.stopLoad()
    // What is buffered is still shown; the search for more begins now.
    this.recover('fatal')
  }

  private readonly onPause = (): void => {
    if (!this.isSwapping && !this.video.ended) this.wantsPlay = false
  }

  private readonly onPlay = (): void => {
    this.wantsPlay = true
    this.lastProgressAt = now()
  }

  private readonly onEnded = (): void => {
    this.become('ended')
    this.recover('ended')
  }

  private readonly tick = (): void => {
    const { video } = this
    const time = now()
    if (this.fragment !== null && this.fragment.stats.loaded !== this.fragmentBytes) {
      this.fragmentBytes = this.fragment.stats.loaded
      this.lastBytesAt = time
    }
    const moved =
      Math.abs(video.currentTime - this.lastTime) > 0.01 && video.readyState >= 2 && !video.seeking
    this.lastTime = video.currentTime
    if (moved && !video.paused) {
      this.lastProgressAt = time
      this.hasShown = true
      if (!this.isFatal) {
        this.recovery?.abort()
        this.recovery = null
      }
      this.become('playing')
      return
    }
    if (this.state === 'ended' || document.hidden) return
    if (!this.wantsPlay || (video.paused && video.readyState >= 2)) {
      // Paused by the viewer, or not allowed to start: nothing is stuck.
      this.lastProgressAt = time
      if (this.state === 'buffering') this.become('playing')
      return
    }
    const still = time - this.lastProgressAt
    const patience = time - this.loadedAt < startPatienceMs ? startPatienceMs : stuckAfterMs
    if (still > patience) this.recover('stuck')
    else if (still > bufferingAfterMs && this.hasShown && this.state === 'playing') this.become('buffering')
    if (this.recovery !== null && still > bufferingAfterMs && this.hasShown) this.become('reconnecting')
  }

  private recover(why: 'fatal' | 'stuck' | 'ended'): void {
    if (this.recovery !== null) return
    const search = new AbortController()
    this.recovery = search
    const before = this.edgeBefore()
    if (why === 'stuck' && this.hasShown) this.become('reconnecting')
    void this.search(before, search.signal)
  }

  private async search(before: Edge | null, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const answer = await probe(this.url, signal)
      // Aborted while waiting: the picture moves again, or the page was left.
      if ((signal.aborted as boolean) || this.life.signal.aborted) return
      if (answer.found === 'edge' && isFresh(answer.edge, before) && this.shouldReload(answer.edge)) {
        this.recovery = null
        this.reloadedAt = now()
        this.load()
        if (this.hasShown) this.become('reconnecting')
        else this.become('loading')
        return
      }
      await pause(retryMs * (0.75 + Math.random() / 2), signal)
    }
  }

  private shouldReload(edge: Edge): boolean {
    const time = now()
    if (time - this.reloadedAt < reloadPauseMs) return false
    const current = this.edgeBefore()
    const isLeftBehind = current?.stream !== edge.stream || edge.lastSegment > current.lastSegment + 1
    if (this.isFatal || this.state === 'ended' || isLeftBehind) return true
    const isTrickling = time - this.lastBytesAt < 2000
    const hasPicture = (lastBuffered(this.video) ?? 0) > this.video.currentTime + 1
    return time - this.lastProgressAt > lastPatienceMs && (!isTrickling || hasPicture)
  }

  /** How far the player itself has followed the stream. */
  private edgeBefore(): Edge | null {
    const details = this.hls?.latestLevelDetails ?? null
    if (!details?.live) return null
    return {
      stream: streamFolder(new URL(details.url, globalThis.location.href).href),
      lastSegment: details.endSN,
      parts: details.lastPartSn > details.endSN ? details.lastPartIndex + 1 : 0,
    }
  }
}

function now(): number {
  return performance.now()
}

function lastBuffered(video: HTMLVideoElement): number | null {
  const { buffered } = video
  return buffered.length === 0 ? null : buffered.end(buffered.length - 1)
}

function qualityOf(level: Level, index: number): Quality {
  return { index, height: level.height, frameRate: level.frameRate, bitrate: level.bitrate }
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
