import { describe, expect, it } from 'vitest'
import { qualityName, readQualities } from './levels'

const master = `#EXTM3U
#EXT-X-STREAM-INF:AVERAGE-BANDWIDTH=4000000,BANDWIDTH=4500000,RESOLUTION=1920x1080,FRAME-RATE=60.000,CODECS="avc1,mp4a"
source/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=1800000,RESOLUTION=1280x720,FRAME-RATE=30

720p/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=128000,CODECS="mp4a.40.2"
audio/index.m3u8
`

describe('qualities', () => {
  it('are read from a master playlist, those with a picture', () => {
    const qualities = readQualities('http://weir.test/live/t/token/abc/index.m3u8', master)
    expect(qualities).toEqual([
      { id: '/live/t/token/abc/source/index.m3u8', height: 1080, frameRate: 60, bitrate: 4_500_000 },
      { id: '/live/t/token/abc/720p/index.m3u8', height: 720, frameRate: 30, bitrate: 1_800_000 },
    ])
    expect(qualities.map(qualityName)).toEqual(['1080p60', '720p'])
  })

  it('are none where there is nothing', () => {
    expect(readQualities('http://weir.test/live/abc/index.m3u8', '#EXTM3U\n')).toEqual([])
  })
})
