import { expect, test } from '@playwright/test'
import { currentTime, waitForMovingPicture } from './picture'

/** Needs a channel with a recording of ten seconds at least: `WEIR_CHANNEL`. */
test('a viewer finds a video, watches it and goes to another moment', async ({ page }) => {
  const handle = process.env.WEIR_CHANNEL ?? ''
  test.skip(handle === '', 'no channel is named')
  const problems: string[] = []
  page.on('pageerror', (error) => problems.push(error.message))
  page.on('console', (message) => {
    if (message.text().includes('Content Security Policy')) problems.push(message.text())
  })
  await page.goto(`/${handle}`)
  const videos = page.getByRole('region', { name: 'Videos' })
  await videos.getByRole('link', { name: 'All videos' }).click()
  await expect(page.getByRole('heading', { level: 1, name: 'Videos' })).toBeVisible()
  await page.locator('article a').last().click()

  await waitForMovingPicture(page)
  const start = await currentTime(page)
  await expect.poll(() => currentTime(page)).toBeGreaterThan(start + 1)
  const duration = await page
    .getByTestId('player-video')
    .evaluate((video) => (video as HTMLVideoElement).duration)
  expect(duration).toBeGreaterThan(9)

  // The small pictures are there for the seek bar.
  const cues = () =>
    page
      .getByTestId('player-video')
      .evaluate((video) => (video as HTMLVideoElement).textTracks[0]?.cues?.length ?? 0)
  await expect.poll(cues).toBeGreaterThan(0)

  // Another moment, by the bar and by a key. It stands still for that: on a slow machine it would have gone on by the time that it is
  // looked at.
  const isPaused = () =>
    page.getByTestId('player-video').evaluate((video) => (video as HTMLVideoElement).paused)
  await page.keyboard.press('k')
  await expect.poll(isPaused).toBe(true)
  // What comes late moves the bar.
  await expect(async () => {
    const bar = await page.locator('media-time-range').boundingBox()
    if (bar === null) throw new Error('there is no seek bar')
    await page.mouse.click(bar.x + bar.width * 0.6, bar.y + bar.height / 2)
    await expect.poll(() => currentTime(page), { timeout: 10_000 }).toBeGreaterThan(duration * 0.5)
  }).toPass()
  await page.keyboard.press('j')
  await expect.poll(() => currentTime(page)).toBeLessThan(duration * 0.5)
  await page.keyboard.press('k')
  await waitForMovingPicture(page)
  expect(problems).toEqual([])
})

test('a video that is not there says so', async ({ page }) => {
  const handle = process.env.WEIR_CHANNEL ?? ''
  test.skip(handle === '', 'no channel is named')
  await page.goto(`/${handle}/videos/01a1fef5-0000-7000-8000-000000000000`)
  await expect(page.getByText('This video is not here')).toBeVisible()
  await page.getByRole('link', { name: 'Other videos of this channel' }).click()
  await expect(page.getByRole('heading', { level: 1, name: 'Videos' })).toBeVisible()
})
