import { appendFile } from 'node:fs/promises'
import { expect, test } from '@playwright/test'
import { waitForMovingPicture, waitForStillPicture } from './picture'

/**
 * An open page while the encoder goes away and comes back as another one: with another size, codec profile, frame
 * rate and sound. `WEIR_CHANNEL` names the channel, `WEIR_SIZES` the sizes that it comes back with (`1280x720 854x480`),
 * and `WEIR_RESUME_STATE` a file into which one line is written at a time: `playing`, then for each size
 * `away <size>` (bring the encoder back) and `back <size>` (take it away). Smaller sizes must not be made of the source.
 */
const sizes = (process.env.WEIR_SIZES ?? '').split(' ').filter((size) => size !== '')

/** What becomes of the element that plays. */
interface Fate {
  video: HTMLVideoElement
  loads: number
  faults: number
  sound: number
}

type Watched = Window & { fate: Fate }

test('the picture goes on in another size, codec and sound', async ({ page }) => {
  const handle = process.env.WEIR_CHANNEL ?? ''
  const stateFile = process.env.WEIR_RESUME_STATE ?? ''
  test.skip(handle === '' || stateFile === '' || sizes.length === 0, 'no channel, sizes or file are named')
  test.setTimeout(600_000 + sizes.length * 600_000)
  const tell = (state: string) => appendFile(stateFile, `${state}\n`)
  const problems: string[] = []
  page.on('pageerror', (error) => problems.push(error.message))

  await page.goto(`/${handle}`)
  await waitForMovingPicture(page)
  // Whoever watches reloads nothing, and neither does the page by itself.
  page.on('framenavigated', (frame) => problems.push(`the page went to ${frame.url()}`))
  await page.evaluate(() => {
    const video = document.querySelector<HTMLVideoElement>('[data-testid="player-video"]')
    if (video === null) throw new Error('there is no player')
    const fate: Fate = { video, loads: 0, faults: 0, sound: 0 }
    video.addEventListener('loadstart', () => (fate.loads += 1))
    video.addEventListener('error', () => (fate.faults += 1))
    ;(window as unknown as Watched).fate = fate
  })
  const glance = () =>
    page.evaluate(() => {
      const { video, loads, faults } = (window as unknown as Watched).fate
      // Of Chromium alone, which is what plays here.
      const { webkitAudioDecodedByteCount: sound } = video as unknown as {
        webkitAudioDecodedByteCount: number
      }
      const isThere = document.querySelector('[data-testid="player-video"]') === video
      const { videoWidth: width, videoHeight: height, currentTime: time } = video
      return {
        size: `${width}x${height}`,
        time,
        loads,
        faults,
        sound,
        isThere,
        code: video.error?.code ?? null,
      }
    })

  await tell('playing')
  for (const size of sizes) {
    await waitForStillPicture(page)
    const notice = page.getByText(/^(Reconnecting|Waiting for the streamer to reconnect)$/)
    await expect(notice).toBeVisible()
    const away = await glance()
    const since = Date.now()
    await tell(`away ${size}`)
    await expect.poll(async () => (await glance()).size).toBe(size)
    await waitForMovingPicture(page)
    const awayMs = Date.now() - since
    await expect(notice).toBeHidden()
    const back = await glance()
    // It goes on: pictures and sound.
    await expect.poll(async () => (await glance()).time).toBeGreaterThan(back.time + 4)
    const later = await glance()
    expect(later.sound).toBeGreaterThan(back.sound)
    expect(later).toMatchObject({ size, faults: 0, isThere: true, code: null })
    const description = `${size} after ${(awayMs / 1000).toFixed(1)} s, loaded ${back.loads - away.loads} times`
    test.info().annotations.push({ type: 'comeback', description })
    console.log(`comeback: ${description}`)
    await tell(`back ${size}`)
  }
  expect(problems).toEqual([])
})
