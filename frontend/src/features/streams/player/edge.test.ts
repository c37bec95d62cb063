import { describe, expect, it } from 'vitest'
import { isFresh, readEdge, type Edge } from './edge'

const url = 'http://weir.test/live/0193/source/index.m3u8'
const playlist = `#EXTM3U
#EXT-X-TARGETDURATION:2
#EXT-X-PART-INF:PART-TARGET=0.505
#EXT-X-MEDIA-SEQUENCE:40
#EXTINF:2.0,
s40.m4s
#EXT-X-PART:DURATION=0.5,URI="p161.m4s"
#EXTINF:2.0,
s41.m4s
#EXT-X-PART:DURATION=0.5,URI="p165.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.5,URI="p166.m4s"
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="p167.m4s"
`
const edge: Edge = { stream: '/live/0193/', lastSegment: 41, parts: 2 }

describe('the edge of a live playlist', () => {
  it('is its last segment and the parts after it', () => {
    expect(readEdge(url, playlist)).toEqual(edge)
  })

  it('is none where the stream is over or has not begun', () => {
    expect(readEdge(url, `${playlist}#EXT-X-ENDLIST\n`)).toBeNull()
    expect(readEdge(url, '#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n')).toBeNull()
  })
})

describe('what is worth loading anew', () => {
  it.each<[string, Edge, Edge | null, boolean]>([
    ['anything, where nothing was', edge, null, true],
    ['the same end of the same stream', edge, edge, false],
    ['a further part', { ...edge, parts: 3 }, edge, true],
    ['a further segment', { ...edge, lastSegment: 42, parts: 0 }, edge, true],
    ['numbering that jumped forward', { ...edge, lastSegment: 4041 }, edge, true],
    ['numbering that began anew', { ...edge, lastSegment: 1 }, edge, true],
    ['an answer that is a little old', { ...edge, lastSegment: 40 }, edge, false],
    ['another stream', { ...edge, stream: '/live/0194/' }, edge, true],
  ])('%s', (_, now, before, expected) => {
    expect(isFresh(now, before)).toBe(expected)
  })
})
