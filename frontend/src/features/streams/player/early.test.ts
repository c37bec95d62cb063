import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { loadEarly, loadNamed, takeEarly } from './early'

interface FakeHls {
  handlers: Map<string, (event: string, data: object) => void>
  source: string
  isDestroyed: boolean
}

const made = vi.hoisted(() => [] as FakeHls[])

vi.mock('hls.js/light', () => {
  class Hls implements FakeHls {
    static isSupported = () => true
    handlers = new Map<string, (event: string, data: object) => void>()
    source = ''
    isDestroyed = false
    constructor() {
      made.push(this)
    }
    on(event: string, handler: (event: string, data: object) => void) {
      this.handlers.set(event, handler)
    }
    once = this.on.bind(this)
    loadSource(source: string) {
      this.source = source
    }
    destroy() {
      this.isDestroyed = true
    }
  }
  return { default: Hls, Events: { ERROR: 'error', MANIFEST_LOADED: 'loaded', MANIFEST_PARSED: 'parsed' } }
})

describe('a stream that is loaded early', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.advanceTimersByTime(60_000)
    vi.useRealTimers()
    made.length = 0
  })

  it('is given once, to who plays that address, with what it has told', () => {
    loadEarly('/live/a')
    loadEarly('/live/a')
    expect(made.map(({ source }) => source)).toEqual(['/live/a'])
    made[0]?.handlers.get('parsed')?.('parsed', { levels: ['one'] })
    expect(takeEarly('/live/b')).toBeNull()
    expect(takeEarly('/live/a')).toMatchObject({ hls: made[0], loaded: null, parsed: { levels: ['one'] } })
    expect(takeEarly('/live/a')).toBeNull()
    vi.advanceTimersByTime(60_000)
    // It is the player's now, with its faults.
    made[0]?.handlers.get('error')?.('error', { fatal: true })
    expect(made[0]?.isDestroyed).toBe(false)
  })

  it('is what the head of the page names, once', () => {
    // Not put into the page, which would fetch it.
    const link = document.createElement('link')
    link.setAttribute('href', '/live/a.m3u8')
    const find = vi.spyOn(document.head, 'querySelector').mockReturnValueOnce(link)
    loadNamed()
    expect(find).toHaveBeenCalledWith('link[rel="preload"][as="fetch"][href$=".m3u8"]')
    expect(made.map(({ source }) => source)).toEqual(['/live/a.m3u8'])
    expect(takeEarly('/live/a.m3u8')).not.toBeNull()
    loadNamed()
    expect(made).toHaveLength(1)
  })

  it('is not begun beside a player that has begun itself', () => {
    expect(takeEarly('/live/d')).toBeNull()
    loadEarly('/live/d')
    expect(made).toHaveLength(0)
    vi.advanceTimersByTime(60_000)
    loadEarly('/live/d')
    expect(made).toHaveLength(1)
  })

  it('goes when nobody takes it, when it fails, and when another is wanted', () => {
    loadEarly('/live/a')
    loadEarly('/live/b')
    expect(made.map(({ isDestroyed }) => isDestroyed)).toEqual([true, false])
    made[1]?.handlers.get('error')?.('error', { fatal: false })
    expect(made[1]?.isDestroyed).toBe(false)
    made[1]?.handlers.get('error')?.('error', { fatal: true })
    expect(made[1]?.isDestroyed).toBe(true)
    expect(takeEarly('/live/b')).toBeNull()
    loadEarly('/live/c')
    vi.advanceTimersByTime(60_000)
    expect(made[2]?.isDestroyed).toBe(true)
    expect(takeEarly('/live/c')).toBeNull()
  })
})
