import { expect, test } from '@playwright/test'
import { waitForMovingPicture } from './picture'

/** Needs a live channel, `WEIR_CHANNEL`, and how its codec is called in playlists, `WEIR_VIDEO_CODEC`. */
test('the source plays as it came', async ({ page }) => {
  const handle = process.env.WEIR_CHANNEL ?? ''
  const codec = process.env.WEIR_VIDEO_CODEC
  test.skip(handle === '' || codec === undefined, 'no channel or codec is named')
  await page.goto(`/${handle}`)
  await waitForMovingPicture(page)
  const video = page.getByTestId('player-video')
  const height = () => video.evaluate((element) => (element as HTMLVideoElement).videoHeight)
  const source = await page.evaluate(async (name) => {
    const channel = (await (await fetch(`/api/v1/channels/${name}`)).json()) as { live_stream_id: string }
    return (await fetch(`/live/${channel.live_stream_id}/index.m3u8`)).text()
  }, handle)
  const [, codecs, rows] = /CODECS="([^",]+)[^"]*",RESOLUTION=\d+x(\d+)[^\n]*\nsource\//.exec(source) ?? []
  expect(codecs).toContain(codec)
  // Nothing else is of this height but the source.
  await expect.poll(height).toBe(Number(rows))
})
