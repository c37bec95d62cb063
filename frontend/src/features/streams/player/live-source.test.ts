import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { LiveSource, type SourceState } from './live-source'

interface FakeHls {
  handlers: Map<string, (event: string, data: object) => void>
  latestLevelDetails: object | null
  isDestroyed: boolean
  recoveries: number
}

const made = vi.hoisted(() => [] as FakeHls[])

vi.mock('hls.js', () => {
  class Hls implements FakeHls {
    static isSupported = () => true
    handlers = new Map<string, (event: string, data: object) => void>()
    latestLevelDetails: object | null = null
    isDestroyed = false
    recoveries = 0
    levels = []
    constructor() {
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
    loadSource() {
      return undefined
    }
    stopLoad() {
      return undefined
    }
  }
  return {
    default: Hls,
    ErrorTypes: { MEDIA_ERROR: 'mediaError', NETWORK_ERROR: 'networkError' },
    Events: { ERROR: 'error', MANIFEST_PARSED: 'parsed', FRAG_LOADING: 'loading', FRAG_LOADED: 'loaded' },
  }
})

class FakeVideo extends EventTarget {
  currentTime = 0
  readyState = 4
  paused = false
  ended = false
  muted = true
  seeking = false
  buffered = { length: 0, end: () => 0 }
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
    }
  }

  beforeEach(() => {
    vi.useFakeTimers()
    made.length = 0
    states = []
    stream = { id: 'a', last: 10 }
    isMoving = true
    vi.stubGlobal(
      'fetch',
      vi.fn((input: URL | string) => {
        const url = String(input)
        if (stream === null) return Promise.resolve(new Response(null, { status: 404 }))
        const isMaster = !url.includes('/source/')
        const response = new Response(isMaster ? '#EXTM3U\nsource/index.m3u8\n' : playlist(stream.last))
        Object.defineProperty(response, 'url', {
          value: isMaster ? `http://weir.test/live/${stream.id}/index.m3u8` : url,
        })
        return Promise.resolve(response)
      }),
    )
    video = new FakeVideo()
    source = new LiveSource(video as unknown as HTMLVideoElement, '/live/channels/c/index.m3u8', {
      onState: (state) => states.push(state),
      onQualities: () => undefined,
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
    expect(states).toEqual(['playing', 'buffering', 'reconnecting'])
    expect(made).toHaveLength(1)
    isMoving = true
    await pass(1)
    expect(states.at(-1)).toBe('playing')
    await pass(10)
    expect(made).toHaveLength(1)
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
})
