import Hls, {
  ErrorDetails,
  ErrorTypes,
  Events,
  type ErrorData,
  type Fragment,
  type ManifestLoadedData,
  type ManifestParsedData,
} from 'hls.js/light'
import { CatchUp } from './catch-up'
import { Choice } from './choice'
import { takeEarly } from './early'
import { followedEdge, type Edge } from './edge'
import { liveConfig, pastConfig } from './hls-config'
import { liveWithinSeconds, Past } from './past'
import { firstSeekable, lastBuffered } from './reach'
import { Search } from './search'
import { SourceMeter, type SourceFigures } from './source-figures'
import type { SourceEvents, SourceState } from './source-state'

const tickMs = 250
const bufferingAfterMs = 700
const stuckAfterMs = 3500
/** A source that has just been loaded may take this long to show something. */
const startPatienceMs = 8000
/** While playlists keep coming the wait may be the network's; past this it is not. */
const lastPatienceMs = 6000
const reloadPauseMs = 3000
/** Once there is something new, the player has so long to play it by itself: it hears of it as soon as the search does. */
const headStartMs = 2500
/** A picture may stay for so long; what the encoder sends then comes all at once, and the player goes on with it by itself. */
const longestHoleSeconds = 8

/**
 * Plays a channel's stable address in a video element and keeps at it: whatever happens to the
 * encoder, the network or the server, the picture comes back without the viewer doing anything.
 *
 * hls.js mends small things alone. A watchdog looks at the one thing that matters, whether the
 * picture moves, and once it has not for a while, the address is probed until there is something
 * new to play; then the source is loaded from scratch. That covers a stream that goes on under the
 * same id with its numbering moved, and another stream in its place.
 *
 * What is beside that has files of its own: the {@link Choice} of a quality, the {@link Past}, how one comes
 * back to live ({@link CatchUp}), the {@link Search}, and what is measured ({@link SourceMeter}).
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
  private newSince: number | null = null
  private mediaFaultAt = 0
  private fragment: Fragment | null = null
  private fragmentBytes = 0
  private lastBytesAt = 0
  private readonly life = new AbortController()
  private readonly choice: Choice
  private readonly past: Past
  private readonly catchUp: CatchUp
  private readonly search: Search
  private readonly meter: SourceMeter
  private readonly ticker: ReturnType<typeof setInterval>

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly url: string,
    private readonly events: SourceEvents,
  ) {
    const { signal } = this.life
    this.choice = new Choice(url, events, signal)
    this.past = new Past(events, signal)
    this.catchUp = new CatchUp(video)
    this.meter = new SourceMeter(video)
    const searcher = {
      isWorth: (edge: Edge) => this.isWorthReload(edge),
      onFound: () => this.reload(),
      onDenied: () => this.become('denied'),
    }
    this.search = new Search(url, searcher, signal)
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
    this.search.stop()
    this.isSwapping = true
    this.hls?.destroy()
    this.hls = null
  }

  /** Seconds behind the moment at which the player would like to be; `null` while unknown. */
  get behindSeconds(): number | null {
    const { hls } = this
    const { watched } = this.past
    if (watched !== null) return hls !== null && hls.latency > 0 ? hls.latency : watched.behindSeconds
    const goal = hls?.liveSyncPosition
    return goal === null || goal === undefined ? null : goal - this.video.currentTime
  }

  get isRewound(): boolean {
    return this.past.watched !== null
  }

  goLive(): void {
    this.catchUp.follow()
    if (this.isRewound) {
      this.past.watched = null
      this.load()
      this.past.tell()
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
    if (this.isRewound) {
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
    if (seconds < 0) this.catchUp.stay()
    const last = this.hls?.liveSyncPosition ?? lastBuffered(video) ?? goal
    video.currentTime = seconds > 0 ? Math.min(goal, Math.max(last, video.currentTime)) : goal
  }

  /** Moves to so many seconds before now. */
  seekBehind(seconds: number): void {
    if (seconds < liveWithinSeconds) {
      if (this.isRewound || (this.behindSeconds ?? 0) > 1) this.goLive()
      return
    }
    const behind = this.isRewound ? (this.behindSeconds ?? 0) : (this.hls?.latency ?? 0)
    this.seekBy(behind - seconds)
  }

  /** Chooses a quality by its id; `null` leaves the choice to the player. */
  chooseQuality(id: string | null): void {
    if (this.choice.choose(this.hls, id)) return
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
    return this.meter.read(this.hls)
  }

  private folder(): string | null {
    return this.followed()?.stream ?? null
  }

  /** How far the player itself has followed the stream. */
  private followed(): Edge | null {
    return followedEdge(this.hls?.latestLevelDetails ?? null)
  }

  private async watchPast(behindSeconds: number): Promise<void> {
    const found = await this.past.look(this.folder())
    if (this.life.signal.aborted || this.isRewound) return
    if (found === null) {
      // As far back as the live playlist goes.
      this.video.currentTime = firstSeekable(this.video)
      return
    }
    this.past.watched = { url: found.url, behindSeconds: Math.min(behindSeconds, found.seconds) }
    this.become('buffering')
    this.load()
    this.past.tell()
  }

  private async lookForQualities(): Promise<void> {
    const isBetter = await this.choice.look(() => this.folder())
    if (isBetter && !this.life.signal.aborted) this.load()
  }

  private become(state: SourceState): void {
    if (this.state === state) return
    this.state = state
    this.events.onState(state)
  }

  private load(): void {
    const { watched } = this.past
    this.isFatal = false
    this.search.isEncoderAway = false
    this.catchUp.reset()
    this.choice.begin(watched !== null)
    this.loadedAt = now()
    this.lastProgressAt = now()
    this.newSince = null
    this.fragment = null
    this.isSwapping = true
    this.hls?.destroy()
    this.hls = null
    // Chromium answers "maybe" for native HLS and cannot play it, so hls.js is asked first.
    if (Hls.isSupported()) this.loadWithHls()
    else this.video.src = watched?.url ?? this.url
    if (this.wantsPlay) void this.play()
    queueMicrotask(() => {
      this.isSwapping = false
    })
  }

  private loadWithHls(): void {
    const { watched } = this.past
    const early = watched === null ? takeEarly(this.url) : null
    const hls = early?.hls ?? new Hls(watched === null ? liveConfig : pastConfig(watched.behindSeconds))
    this.hls = hls
    hls.on(Events.ERROR, (_, data) => this.onFault(hls, data))
    const onLoaded = ({ levels }: ManifestLoadedData) => this.choice.named(levels)
    const onParsed = ({ levels }: ManifestParsedData) => {
      this.choice.parsed(hls, levels)
      if (this.wantsPlay) void this.play()
    }
    hls.on(Events.MANIFEST_LOADED, (_, data) => onLoaded(data))
    hls.on(Events.MANIFEST_PARSED, (_, data) => onParsed(data))
    hls.on(Events.LEVEL_SWITCHED, (_, { level }) => this.choice.switched(hls, level))
    hls.on(Events.FRAG_LOADING, (_, { frag }) => {
      this.fragment = frag
      this.fragmentBytes = 0
    })
    hls.on(Events.FRAG_LOADED, () => {
      this.lastBytesAt = now()
    })
    hls.attachMedia(this.video)
    if (early === null) {
      hls.loadSource(watched?.url ?? this.url)
      return
    }
    // What it has told before anybody listened.
    if (early.loaded !== null) onLoaded(early.loaded)
    if (early.parsed !== null) onParsed(early.parsed)
  }

  private onFault(hls: Hls, data: ErrorData): void {
    if (hls !== this.hls) return
    const status = data.response?.code
    if (status === 401 || status === 403) {
      this.isFatal = true
      hls.stopLoad()
      this.search.stop()
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
    if (canPlayNone) this.choice.failed()
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
    this.catchUp.stay()
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
      this.onMoved(time)
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
      if (this.choice.isAutomatic && this.choice.lacks(this.hls)) this.load()
    }
    if (this.search.isOn && still > bufferingAfterMs && this.hasShown) {
      this.become(this.search.isEncoderAway ? 'waiting' : 'reconnecting')
    }
  }

  private onMoved(time: number): void {
    this.lastProgressAt = time
    this.newSince = null
    this.search.isEncoderAway = false
    if (!this.hasShown) void this.past.look(this.folder())
    this.hasShown = true
    if (this.choice.isTimeToLook(time) && !document.hidden) void this.lookForQualities()
    if (!this.isFatal) this.search.stop()
    this.become('playing')
    this.catchUp.step(time, this.isRewound ? null : this.behindSeconds, this.hls)
  }

  private recover(why: 'fatal' | 'stuck' | 'ended'): void {
    if (this.search.isOn) return
    if (why === 'stuck' && this.hasShown) this.become('reconnecting')
    this.search.begin(this.followed())
  }

  /** Something new was found: from now on that is played. */
  private reload(): void {
    this.reloadedAt = now()
    this.past.watched = null
    this.load()
    this.past.tell()
    this.become(this.hasShown ? 'reconnecting' : 'loading')
  }

  /** How many segments may come at once, after a hole, without anything being wrong. */
  private burstSegments(): number {
    const seconds = this.hls?.latestLevelDetails?.targetduration ?? longestHoleSeconds
    return Math.ceil((longestHoleSeconds + seconds) / seconds)
  }

  private isWorthReload(edge: Edge): boolean {
    const time = now()
    if (time - this.reloadedAt < reloadPauseMs) return false
    const current = this.followed()
    const isLeftBehind =
      current?.stream !== edge.stream || edge.lastSegment > current.lastSegment + this.burstSegments()
    if (this.isFatal || this.state === 'ended' || isLeftBehind) return true
    this.newSince ??= time
    if (time - this.newSince < headStartMs) return false
    const isTrickling = time - this.lastBytesAt < 2000
    const hasPicture = (lastBuffered(this.video) ?? 0) > this.video.currentTime + 1
    return time - this.lastProgressAt > lastPatienceMs && (!isTrickling || hasPicture)
  }
}

function now(): number {
  return performance.now()
}
