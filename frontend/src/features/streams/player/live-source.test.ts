import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { LiveSource } from './live-source'
import type { PictureState, SourceState } from './source-state'

interface FakeHls {
  handlers: Map<string, (event: string, data: object) => void>
  latestLevelDetails: object | null
  isDestroyed: boolean
  recoveries: number
  source: string
  config: Record<string, unknown>
  levels: { uri: string; height: number; frameRate: number; bitrate: number }[]
  nextLevel: number
  latency: number
  liveSyncPosition: number | null
}

const made = vi.hoisted(() => [] as FakeHls[])

vi.mock('hls.js/light', () => {
  class Hls implements FakeHls {
    static isSupported = () => true
    handlers = new Map<string, (event: string, data: object) => void>()
    latestLevelDetails: object | null = null
    isDestroyed = false
    recoveries = 0
    source = ''
    levels = []
    nextLevel = -1
    latency = 2
    liveSyncPosition: number | null = null
    currentLevel = -1
    constructor(public config: Record<string, unknown>) {
      made.push(this)
    }
    on(event: string, handler: (event: string, data: object) => void) {
      this.handlers.set(event, handler)
    }
    recoverMediaError() {
      this.recoveries += 1
    }
    destroy() {
      this.isDestroyed = true
    }
    attachMedia() {
      return undefined
    }
    loadSource(source: string) {
      this.source = source
    }
    stopLoad() {
      return undefined
    }
  }
  return {
    default: Hls,
    ErrorDetails: { MANIFEST_INCOMPATIBLE_CODECS_ERROR: 'incompatible' },
    ErrorTypes: { MEDIA_ERROR: 'mediaError', NETWORK_ERROR: 'networkError' },
    Events: {
      ERROR: 'error',
      MANIFEST_LOADED: 'named',
      MANIFEST_PARSED: 'parsed',
      LEVEL_SWITCHED: 'switched',
      FRAG_LOADING: 'loading',
      FRAG_LOADED: 'loaded',
    },
  }
})

class FakeVideo extends EventTarget {
  currentTime = 0
  playbackRate = 1
  readyState = 4
  paused = false
  ended = false
  muted = true
  seeking = false
  buffered = { length: 0, end: () => 0 }
  seekable = { length: 1, start: () => 0 }
  play = () => {
    this.paused = false
    return Promise.resolve()
  }
}

const playlist = (last: number) => `#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:${last}\n#EXTINF:2,\ns${last}.m4s\n`

describe('a live source', () => {
  let video: FakeVideo
  let states: SourceState[]
  let source: LiveSource
  /** What the channel's address leads to; `null` while it is offline. */
  let stream: { id: string; last: number } | null
  let isMoving: boolean
  /** What the stream's master playlist names besides the source. */
  let renditions: string[]
  /** How the server answers for what it keeps of the past, and for the channel's address. */
  let answers: { rewind: number; channel: number }
  let qualities: string[]
  let rewinds: [boolean, number | null][]
  let pictures: PictureState[]

  /** Time passes, and with it the picture, where it moves. */
  async function pass(seconds: number) {
    for (let step = 0; step < seconds * 4; step += 1) {
      if (isMoving && !video.paused) video.currentTime += 0.25
      await vi.advanceTimersByTimeAsync(250)
    }
  }

  function current(): FakeHls {
    const hls = made.at(-1)
    if (hls === undefined) throw new Error('nothing was loaded')
    return hls
  }
  const follow = (id: string, last: number) => {
    current().latestLevelDetails = {
      live: true,
      url: `http://weir.test/live/${id}/source/index.m3u8`,
      endSN: last,
      lastPartSn: last,
      lastPartIndex: 0,
      targetduration: 2,
    }
  }

  beforeEach(() => {
    vi.useFakeTimers()
    made.length = 0
    states = []
    stream = { id: 'a', last: 10 }
    isMoving = true
    renditions = []
    answers = { rewind: 404, channel: 200 }
    qualities = []
    rewinds = []
    pictures = []
    vi.stubGlobal(
      'fetch',
      vi.fn((input: URL | string) => {
        const url = String(input)
        if (stream === null) return Promise.resolve(new Response(null, { status: 404 }))
        const isMaster = !url.includes('/source/')
        const status = url.includes('/rewind.m3u8') ? answers.rewind : isMaster ? answers.channel : 200
        if (status !== 200) return Promise.resolve(new Response(null, { status }))
        const levels = ['source', ...renditions].map(
          (name) => `#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=16x9\n${name}/index.m3u8\n`,
        )
        const past = '#EXTM3U\n' + '#EXTINF:2,\ns1.m4s\n'.repeat(300)
        const text = isMaster
          ? `#EXTM3U\n${url.includes('/rewind.m3u8') ? 'source/rewind.m3u8\n' : levels.join('')}`
          : url.includes('/rewind.m3u8')
            ? past
            : playlist(stream.last)
        const response = new Response(text)
        Object.defineProperty(response, 'url', {
          value: isMaster ? `http://weir.test/live/${stream.id}/index.m3u8` : url,
        })
        return Promise.resolve(response)
      }),
    )
    video = new FakeVideo()
    source = new LiveSource(video as unknown as HTMLVideoElement, '/live/channels/c/index.m3u8', {
      onState: (state) => states.push(state),
      onQualities: (all) => {
        qualities = all.map(({ id }) => id)
      },
      onRewind: (...told) => rewinds.push(told),
      onPicture: (picture) => pictures.push(picture),
    })
    follow('a', 10)
  })

  afterEach(() => {
    source.destroy()
    vi.useRealTimers()
  })

  it('plays, and leaves alone what plays', async () => {
    await pass(10)
    expect(states).toEqual(['playing'])
    expect(made).toHaveLength(1)
  })

  it('waits where nothing new is there, and lets hls.js go on by itself', async () => {
    await pass(10)
    isMoving = false
    await pass(20)
    // The server answers, and has nothing new either.
    expect(states).toEqual(['playing', 'buffering', 'reconnecting', 'waiting'])
    expect(made).toHaveLength(1)
    isMoving = true
    await pass(1)
    expect(states.at(-1)).toBe('playing')
    await pass(10)
    expect(made).toHaveLength(1)
  })

  it('lets hls.js play what an encoder sends that is back, and loads anew only where it does not', async () => {
    const only = { uri: 'http://weir.test/live/a/source/index.m3u8', height: 9, frameRate: 0, bitrate: 1 }
    current().levels = [only]
    await pass(10)
    isMoving = false
    await pass(10)
    stream = { id: 'a', last: 11 }
    await pass(2)
    expect(made).toHaveLength(1)
    isMoving = true
    await pass(5)
    expect(made).toHaveLength(1)
    // The next time it stays with what it knew.
    follow('a', 11)
    isMoving = false
    await pass(10)
    stream = { id: 'a', last: 12 }
    await pass(1)
    expect(made).toHaveLength(1)
    await pass(8)
    expect(made.length).toBeGreaterThan(1)
  })

  it('lets hls.js play what comes at once after a hole, and loads anew what is farther ahead', async () => {
    await pass(10)
    isMoving = false
    await pass(5)
    stream = { id: 'a', last: 15 }
    // The search looks every two seconds or so, and sees it before or after hls.js does.
    await pass(2)
    expect(made).toHaveLength(1)
    follow('a', 15)
    isMoving = true
    await pass(10)
    expect(made).toHaveLength(1)
    isMoving = false
    await pass(5)
    stream = { id: 'a', last: 21 }
    await pass(3)
    expect(made).toHaveLength(2)
  })

  it('loads another stream of the same channel', async () => {
    await pass(10)
    isMoving = false
    stream = null
    await pass(15)
    expect(made).toHaveLength(1)
    stream = { id: 'b', last: 0 }
    await pass(3)
    expect(made).toHaveLength(2)
    expect(made[0]?.isDestroyed).toBe(true)
    isMoving = true
    await pass(1)
    expect(states.at(-1)).toBe('playing')
  })

  it('loads the same stream anew when its numbering has jumped', async () => {
    await pass(10)
    isMoving = false
    await pass(10)
    stream = { id: 'a', last: 2010 }
    await pass(3)
    expect(made).toHaveLength(2)
  })

  it('looks for more after a fatal fault, while the rest of the buffer is shown', async () => {
    await pass(10)
    stream = null
    current().handlers.get('error')?.('error', { fatal: true, type: 'networkError' })
    await pass(3)
    expect(states).toEqual(['playing'])
    stream = { id: 'a', last: 14 }
    await pass(3)
    expect(made).toHaveLength(2)
  })

  it('mends a media fault in place, once', async () => {
    await pass(10)
    current().handlers.get('error')?.('error', { fatal: true, type: 'mediaError' })
    expect(current().recoveries).toBe(1)
    expect(made).toHaveLength(1)
  })

  it('brings back who was left behind by a wait, and now and then only', async () => {
    await pass(5)
    current().liveSyncPosition = video.currentTime + 20
    await pass(1)
    expect(video.currentTime).toBeLessThan(10)
    await pass(2)
    expect(video.currentTime).toBeGreaterThan(24)
    current().liveSyncPosition = video.currentTime + 30
    const left = video.currentTime
    await pass(8)
    expect(video.currentTime).toBe(left + 8)
    await pass(10)
    expect(video.currentTime).toBeGreaterThan(left + 28)
  })

  it('hurries after what is live while enough is buffered', async () => {
    await pass(5)
    follow('a', 10)
    Object.assign(current().latestLevelDetails ?? {}, { partTarget: 0.5, targetduration: 2 })
    const isAhead = (seconds: number) => {
      const end = video.currentTime + seconds
      video.buffered = { length: 1, end: () => end }
    }
    current().liveSyncPosition = video.currentTime + 1
    isAhead(2)
    await pass(0.25)
    expect(video.playbackRate).toBeGreaterThan(1)
    isAhead(0.9)
    await pass(0.25)
    expect(video.playbackRate).toBe(1)
    isAhead(2)
    await pass(0.25)
    source.seekBy(-1)
    await pass(0.25)
    expect(video.playbackRate).toBe(1)
  })

  it('leaves those behind who chose it', async () => {
    await pass(5)
    current().liveSyncPosition = video.currentTime
    source.seekBy(-5)
    current().liveSyncPosition = video.currentTime + 12
    const chosen = video.currentTime
    await pass(10)
    expect(video.currentTime).toBe(chosen + 10)
    source.goLive()
    current().liveSyncPosition = video.currentTime + 8
    await pass(4)
    expect(video.currentTime).toBeGreaterThan(chosen + 20)
  })

  it('takes a pause for a pause', async () => {
    await pass(10)
    video.paused = true
    video.dispatchEvent(new Event('pause'))
    await pass(30)
    expect(states).toEqual(['playing'])
    expect(made).toHaveLength(1)
  })

  it('goes on with the next stream after one has ended', async () => {
    await pass(10)
    isMoving = false
    video.ended = true
    stream = null
    video.dispatchEvent(new Event('ended'))
    expect(states.at(-1)).toBe('ended')
    stream = { id: 'b', last: 1 }
    await pass(3)
    expect(made).toHaveLength(2)
  })

  it('stops asking once it is gone', async () => {
    stream = null
    isMoving = false
    await pass(10)
    source.destroy()
    const calls = vi.mocked(fetch).mock.calls.length
    await pass(20)
    expect(vi.mocked(fetch).mock.calls.length).toBe(calls)
  })

  const level = (name: string) => `/live/a/${name}/index.m3u8`
  const parsed = (...names: string[]) => {
    const hls = current()
    hls.levels = names.map((name) => ({
      uri: `http://weir.test${level(name)}`,
      height: 9,
      frameRate: 30,
      bitrate: 1,
    }))
    hls.handlers.get('parsed')?.('parsed', { levels: hls.levels })
  }

  it('learns of renditions that begin later, and loads anew only for one that is chosen', async () => {
    parsed('source')
    expect(qualities).toEqual([level('source')])
    await pass(5)
    renditions = ['720p', '480p']
    await pass(20)
    expect(qualities).toEqual([level('source'), level('720p'), level('480p')])
    expect(made).toHaveLength(1)
    source.chooseQuality(level('source'))
    expect(current().nextLevel).toBe(0)
    source.chooseQuality(level('480p'))
    expect(made).toHaveLength(2)
    follow('a', 20)
    parsed('source', '720p', '480p')
    expect(current().nextLevel).toBe(2)
    source.chooseQuality(null)
    expect(current().nextLevel).toBe(-1)
    expect(made).toHaveLength(2)
  })

  it('takes up smaller pictures when it cannot keep up', async () => {
    parsed('source')
    await pass(5)
    renditions = ['480p']
    await pass(20)
    isMoving = false
    await pass(1)
    expect(made).toHaveLength(2)
  })

  it('goes back beyond the live window and returns', async () => {
    answers.rewind = 200
    await pass(5)
    expect(rewinds).toEqual([[false, 600]])
    video.currentTime = 3
    source.seekBy(-30)
    await pass(0.5)
    expect(current().source).toBe('http://weir.test/live/a/rewind.m3u8')
    expect(current().config).toMatchObject({ lowLatencyMode: false, liveSyncDuration: 32 })
    expect(source.isRewound).toBe(true)
    source.goLive()
    expect(current().source).toBe('/live/channels/c/index.m3u8')
    expect(source.isRewound).toBe(false)
    expect(rewinds.at(-1)?.[0]).toBe(false)
  })

  it('goes back as far as it can where nothing is kept', async () => {
    await pass(5)
    video.currentTime = 3
    source.seekBy(-30)
    await pass(0.25)
    expect(made).toHaveLength(1)
    expect(video.currentTime).toBeLessThan(1)
    expect(rewinds).toEqual([[false, null]])
  })

  it('loads the playlist from its beginning when it asked too far ahead', async () => {
    await pass(10)
    current().handlers.get('error')?.('error', {
      fatal: false,
      type: 'networkError',
      response: { code: 400 },
    })
    expect(made).toHaveLength(2)
    current().handlers.get('error')?.('error', {
      fatal: false,
      type: 'networkError',
      response: { code: 400 },
    })
    expect(made).toHaveLength(2)
  })

  it.each([401, 403])('says when one may not watch (%d), and asks no more', async (code) => {
    await pass(10)
    current().handlers.get('error')?.('error', { fatal: false, type: 'networkError', response: { code } })
    isMoving = false
    const calls = vi.mocked(fetch).mock.calls.length
    await pass(20)
    expect(states.at(-1)).toBe('denied')
    expect(vi.mocked(fetch).mock.calls.length).toBe(calls)
    expect(made).toHaveLength(1)
  })

  const named = (levels: object[], playable: object[]) => {
    current().handlers.get('parsed')?.('parsed', { levels: playable })
    current().handlers.get('named')?.('named', { levels })
  }
  const hevc = {
    uri: '/live/a/source/index.m3u8',
    height: 720,
    videoCodec: 'hvc1',
    frameRate: 30,
    bitrate: 1,
  }
  const sound = { uri: '/live/a/audio/index.m3u8', height: 0, frameRate: 0, bitrate: 1 }

  it('says when a stream is sound alone', async () => {
    named([sound], [sound])
    await pass(2)
    expect(pictures).toEqual(['none'])
    expect(states.at(-1)).toBe('playing')
  })

  it('says when no picture can be played, and takes up the first that can', async () => {
    named([hevc, sound], [sound])
    await pass(2)
    expect(pictures).toEqual(['unplayable'])
    await pass(20)
    expect(made).toHaveLength(1)
    renditions = ['720p']
    await pass(20)
    expect(made).toHaveLength(2)
    named([hevc, { ...hevc, videoCodec: 'avc1' }, sound], [{ ...hevc, videoCodec: 'avc1' }])
    expect(pictures).toEqual(['unplayable', 'there'])
  })

  it('says the same where there is no sound either', () => {
    current().handlers.get('named')?.('named', { levels: [hevc] })
    const fault = { fatal: true, type: 'mediaError', details: 'incompatible' }
    current().handlers.get('error')?.('error', fault)
    expect(pictures).toEqual(['unplayable'])
  })

  it('hears of a refusal when it looks for the stream', async () => {
    await pass(10)
    isMoving = false
    answers.channel = 403
    await pass(10)
    expect(states.at(-1)).toBe('denied')
  })
})
