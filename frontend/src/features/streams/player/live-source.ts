import Hls, { ErrorDetails, ErrorTypes, Events, type ErrorData, type Fragment, type HlsConfig } from 'hls.js'
import workerPath from 'hls.js/dist/hls.worker.js?url'
import { isFresh, probe, streamFolder, type Edge } from './edge'
import { playlistPath, readQualities, type Quality } from './levels'
import { pace } from './pace'
import { findRewind, type Rewind } from './rewind'

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
  /** Which of them is shown; `null` while that is unknown. */
  onShownQuality?: (id: string | null) => void
  onPicture?: (picture: PictureState) => void
  /** Whether the past is watched; how far back one can go, `null` when one cannot. */
  onRewind?: (isRewound: boolean, seconds: number | null) => void
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
/** How often new renditions are looked for; the answer is mostly "as before". */
const lookForQualitiesMs = 15_000
/** Once what could be rewound was looked for, how long that is true. */
const rewindKnownMs = 60_000
/** How much a server keeps at most. */
const rewindAtMostSeconds = 1800
/** Nearer to now than this is live. */
const liveWithinSeconds = 6
/** Past this the picture is old, and viewers are told. */
export const behindLiveSeconds = 4
/** Past this a viewer who did not choose that is brought back at once: to hurry would take too long. */
const hurriedSeconds = 3
/** How long it may be old before that, and how seldom it is done. */
const catchUpAfterMs = 2000
const catchUpPauseMs = 15_000

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
  // How fast to play is decided here: see `pace`.
  maxLiveSyncPlaybackRate: 1,
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
  private qualities: Quality[] = []
  private chosen: string | null = null
  private lookedForQualitiesAt = now()
  private isEncoderAway = false
  private picture: PictureState = 'there'
  /** How many qualities with a picture the playlist named. */
  private namedPictures = 0
  /** Paused, or gone back: whoever chose to be behind stays there. */
  private isBehindByWish = false
  private behindSince: number | null = null
  private caughtUpAt = Number.NEGATIVE_INFINITY
  /** The past that is watched instead of now. */
  private rewound: { url: string; behindSeconds: number } | null = null
  private rewind: { folder: string; found: Rewind | null; at: number } | null = null
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
    const { hls } = this
    if (this.rewound !== null)
      return hls !== null && hls.latency > 0 ? hls.latency : this.rewound.behindSeconds
    const goal = hls?.liveSyncPosition
    return goal === null || goal === undefined ? null : goal - this.video.currentTime
  }

  get isRewound(): boolean {
    return this.rewound !== null
  }

  goLive(): void {
    this.isBehindByWish = false
    if (this.rewound !== null) {
      this.rewound = null
      this.load()
      this.tellRewind()
      return
    }
    const goal = this.hls?.liveSyncPosition ?? lastBuffered(this.video)
    if (goal !== null) this.video.currentTime = goal
    void this.play()
  }

  /** Moves by seconds: out of the window of the live playlist into what can be rewound, and back. */
  seekBy(seconds: number): void {
    const { video } = this
    const goal = video.currentTime + seconds
    if (this.rewound !== null) {
      const behind = (this.behindSeconds ?? 0) - seconds
      if (behind < liveWithinSeconds) this.goLive()
      else video.currentTime = Math.max(goal, firstSeekable(video))
      return
    }
    if (seconds < 0 && goal < firstSeekable(video)) {
      const latency = this.hls !== null && this.hls.latency > 0 ? this.hls.latency : 0
      void this.watchPast(latency - seconds)
      return
    }
    if (seconds < 0) this.isBehindByWish = true
    const last = this.hls?.liveSyncPosition ?? lastBuffered(video) ?? goal
    video.currentTime = seconds > 0 ? Math.min(goal, Math.max(last, video.currentTime)) : goal
  }

  /** Moves to so many seconds before now. */
  seekBehind(seconds: number): void {
    if (seconds < liveWithinSeconds) {
      if (this.rewound !== null || (this.behindSeconds ?? 0) > 1) this.goLive()
      return
    }
    const behind = this.rewound === null ? (this.hls?.latency ?? 0) : (this.behindSeconds ?? 0)
    this.seekBy(behind - seconds)
  }

  /** Chooses a quality by its id; `null` leaves the choice to the player. */
  chooseQuality(id: string | null): void {
    this.chosen = id
    const { hls } = this
    if (hls === null) return
    const index = id === null ? -1 : this.levelOf(id)
    if (index !== null) {
      hls.nextLevel = index
      return
    }
    // It came after the player had read what there is.
    this.become('buffering')
    this.load()
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
      latencySeconds: this.latencySeconds(),
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

  /**
   * How old the picture is: by the time that the server wrote beside it, where both clocks agree.
   * What hls.js counts ends at the last part that it knows of, and lacks some tenths of a second.
   */
  private latencySeconds(): number | null {
    const counted = this.hls !== null && this.hls.latency > 0 ? this.hls.latency : null
    const shownAt = this.hls?.playingDate?.getTime()
    if (counted === null || shownAt === undefined) return counted
    const measured = (Date.now() - shownAt) / 1000
    return measured > counted - 0.5 && measured < counted + 2 ? Math.max(measured, counted) : counted
  }

  private levelOf(id: string): number | null {
    const index = this.hls?.levels.findIndex((level) => playlistPath(level.uri) === id) ?? -1
    return index < 0 ? null : index
  }

  private folder(): string | null {
    return this.edgeBefore()?.stream ?? null
  }

  private tellRewind(): void {
    const found = this.rewind?.found ?? null
    const seconds =
      found === null || this.rewind === null
        ? null
        : Math.min(rewindAtMostSeconds, found.seconds + (now() - this.rewind.at) / 1000)
    this.events.onRewind?.(this.rewound !== null, seconds)
  }

  /** Looks whether the stream can be rewound, once a minute at most. */
  private async lookForRewind(): Promise<Rewind | null> {
    const folder = this.folder()
    if (folder === null) return null
    const known = this.rewind
    if (known?.folder === folder && now() - known.at < rewindKnownMs) return known.found
    const found = await findRewind(folder, this.life.signal)
    if (this.life.signal.aborted) return null
    this.rewind = { folder, found, at: now() }
    this.tellRewind()
    return found
  }

  private async watchPast(behindSeconds: number): Promise<void> {
    const found = await this.lookForRewind()
    if (this.life.signal.aborted || this.rewound !== null) return
    if (found === null) {
      // As far back as the live playlist goes.
      this.video.currentTime = firstSeekable(this.video)
      return
    }
    this.rewound = { url: found.url, behindSeconds: Math.min(behindSeconds, found.seconds) }
    this.become('buffering')
    this.load()
    this.tellRewind()
  }

  /** Renditions begin after the stream has: the menu learns of them without disturbing what plays. */
  private async lookForQualities(): Promise<void> {
    this.lookedForQualitiesAt = now()
    try {
      const signal = AbortSignal.any([this.life.signal, AbortSignal.timeout(6000)])
      const master = await fetch(this.url, { signal })
      if (!master.ok) return
      const found = readQualities(master.url, await master.text())
      const folder = this.folder()
      if (found.length === 0 || folder === null || !found[0]?.id.startsWith(folder)) return
      if (this.picture === 'unplayable') {
        // One that this browser can play may be among those that are new.
        if (found.length > this.namedPictures) this.load()
        return
      }
      this.setQualities(found)
    } catch {
      // The next look may do better.
    }
  }

  private setQualities(qualities: Quality[]): void {
    if (JSON.stringify(qualities) === JSON.stringify(this.qualities)) return
    this.qualities = qualities
    this.events.onQualities(qualities)
  }

  /** Whether the player does not know all that it could choose from. */
  private lacksQualities(): boolean {
    return this.rewound === null && this.qualities.some(({ id }) => this.levelOf(id) === null)
  }

  private become(state: SourceState): void {
    if (this.state === state) return
    this.state = state
    this.events.onState(state)
  }

  private tellPicture(picture: PictureState): void {
    if (this.picture === picture) return
    this.picture = picture
    this.events.onPicture?.(picture)
  }

  private load(): void {
    this.isFatal = false
    this.isEncoderAway = false
    this.isBehindByWish = false
    this.behindSince = null
    this.loadedAt = now()
    this.lastProgressAt = now()
    this.fragment = null
    this.isSwapping = true
    this.hls?.destroy()
    this.hls = null
    // Chromium answers "maybe" for native HLS and cannot play it, so hls.js is asked first.
    if (Hls.isSupported()) this.loadWithHls()
    else this.video.src = this.rewound?.url ?? this.url
    if (this.wantsPlay) void this.play()
    queueMicrotask(() => {
      this.isSwapping = false
    })
  }

  private loadWithHls(): void {
    const { rewound } = this
    const hls = new Hls(rewound === null ? config : { ...config, ...past(rewound.behindSeconds) })
    this.hls = hls
    let playsPicture = false
    hls.on(Events.ERROR, (_, data) => this.onFault(hls, data))
    hls.on(Events.MANIFEST_LOADED, (_, { levels }) => {
      // Told last: what this browser cannot play is left out of what was parsed before.
      this.namedPictures = levels.filter(hasPicture).length
      if (!playsPicture) this.tellPicture(this.namedPictures > 0 ? 'unplayable' : 'none')
    })
    hls.on(Events.MANIFEST_PARSED, (_, { levels }) => {
      playsPicture = levels.some(hasPicture)
      if (playsPicture) this.tellPicture('there')
      // The playlists of the past have the same renditions under other names.
      if (rewound === null) {
        const known = levels.map(({ uri, height, frameRate, bitrate }) => {
          return { id: playlistPath(uri), height, frameRate, bitrate }
        })
        this.setQualities(known.filter(({ height }) => height > 0))
        const index = this.chosen === null ? null : this.levelOf(this.chosen)
        if (index === null) this.chosen = null
        else {
          hls.startLevel = index
          hls.nextLevel = index
        }
      }
      if (this.wantsPlay) void this.play()
    })
    hls.on(Events.LEVEL_SWITCHED, (_, { level }) => {
      const uri = hls.levels[level]?.uri
      this.events.onShownQuality?.(uri === undefined || rewound !== null ? null : playlistPath(uri))
    })
    hls.on(Events.FRAG_LOADING, (_, { frag }) => {
      this.fragment = frag
      this.fragmentBytes = 0
    })
    hls.on(Events.FRAG_LOADED, () => {
      this.lastBytesAt = now()
    })
    hls.attachMedia(this.video)
    hls.loadSource(rewound?.url ?? this.url)
  }

  private onFault(hls: Hls, data: ErrorData): void {
    if (hls !== this.hls) return
    const status = data.response?.code
    if (status === 401 || status === 403) {
      this.isFatal = true
      hls.stopLoad()
      this.recovery?.abort()
      this.recovery = null
      this.become('denied')
      return
    }
    // Too far ahead: the numbering is not the one that we know any more.
    if (status === 400 && now() - this.reloadedAt > reloadPauseMs) {
      this.reloadedAt = now()
      this.load()
      return
    }
    if (!data.fatal) return
    const canPlayNone = data.details === ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR
    if (canPlayNone) this.tellPicture('unplayable')
    else if (data.type === ErrorTypes.MEDIA_ERROR && now() - this.mediaFaultAt > 5000) {
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
    if (this.isSwapping || this.video.ended) return
    this.wantsPlay = false
    this.isBehindByWish = true
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
      this.isEncoderAway = false
      if (!this.hasShown) void this.lookForRewind()
      this.hasShown = true
      if (time - this.lookedForQualitiesAt > lookForQualitiesMs && !document.hidden) {
        void this.lookForQualities()
      }
      if (!this.isFatal) {
        this.recovery?.abort()
        this.recovery = null
      }
      this.become('playing')
      this.catchUp(time)
      return
    }
    if (this.state === 'ended' || this.state === 'denied' || document.hidden) return
    if (!this.wantsPlay || (video.paused && video.readyState >= 2)) {
      // Paused by the viewer, or not allowed to start: nothing is stuck.
      this.lastProgressAt = time
      if (this.state === 'buffering') this.become('playing')
      return
    }
    const still = time - this.lastProgressAt
    const patience = time - this.loadedAt < startPatienceMs ? startPatienceMs : stuckAfterMs
    if (still > patience) this.recover('stuck')
    else if (still > bufferingAfterMs && this.hasShown && this.state === 'playing') {
      this.become('buffering')
      // A smaller picture may be there by now, which the player has not heard of.
      if (this.chosen === null && this.lacksQualities()) this.load()
    }
    if (this.recovery !== null && still > bufferingAfterMs && this.hasShown) {
      this.become(this.isEncoderAway ? 'waiting' : 'reconnecting')
    }
  }

  /** Brings back who was left behind: by playing faster, and where much is missing by a leap. */
  private catchUp(time: number): void {
    const { video, hls } = this
    const behind = this.rewound === null && !this.isBehindByWish ? this.behindSeconds : null
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
      if (answer.found === 'denied') {
        this.recovery = null
        this.become('denied')
        return
      }
      this.isEncoderAway = answer.found === 'edge' && !isFresh(answer.edge, before)
      if (answer.found === 'edge' && !this.isEncoderAway && this.shouldReload(answer.edge)) {
        this.recovery = null
        this.reloadedAt = now()
        this.rewound = null
        this.load()
        this.tellRewind()
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

function hasPicture({ height, videoCodec }: { height?: number; videoCodec?: string }): boolean {
  return (height !== undefined && height > 0) || videoCodec !== undefined
}

function now(): number {
  return performance.now()
}

function lastBuffered(video: HTMLVideoElement): number | null {
  const { buffered } = video
  return buffered.length === 0 ? null : buffered.end(buffered.length - 1)
}

function firstSeekable(video: HTMLVideoElement): number {
  const { seekable } = video
  return seekable.length === 0 ? 0 : seekable.start(0)
}

/** How the past is played: at its own pace, from where the viewer wants to begin. */
function past(behindSeconds: number): Partial<HlsConfig> {
  return {
    lowLatencyMode: false,
    liveSyncDuration: Math.max(behindSeconds, liveWithinSeconds),
    liveMaxLatencyDuration: 2 * rewindAtMostSeconds,
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
