import { expect, test } from '@playwright/test'
import { currentTime, waitForMovingPicture } from './picture'

/** Needs a live stream: the channel in `WEIR_CHANNEL`, else the first on the home page. */
test('a viewer finds a live stream and sees it move', async ({ page }) => {
  const problems: string[] = []
  page.on('pageerror', (error) => problems.push(error.message))
  page.on('console', (message) => {
    if (message.text().includes('Content Security Policy')) problems.push(message.text())
  })
  await page.goto('/')
  const handle = process.env.WEIR_CHANNEL
  const card = page.locator(handle === undefined ? 'article a' : `article a[href="/${handle}"]`).first()
  await expect(card).toBeVisible()
  await card.click()

  await waitForMovingPicture(page)
  const start = await currentTime(page)
  await expect.poll(() => currentTime(page)).toBeGreaterThan(start + 5)
  await waitForMovingPicture(page)
  expect(problems).toEqual([])
})

test('the keys of the player work', async ({ page, request }) => {
  const answer = (await (await request.get('/api/v1/streams?live=true&limit=1')).json()) as {
    items: { channel: { handle: string } }[]
  }
  const handle = process.env.WEIR_CHANNEL ?? answer.items[0]?.channel.handle
  test.skip(handle === undefined, 'nothing is live')
  await page.goto(`/${handle ?? ''}`)
  await waitForMovingPicture(page)
  const video = page.getByTestId('player-video')
  const property = (name: 'paused' | 'muted') =>
    video.evaluate((element, key) => (element as HTMLVideoElement)[key], name)
  expect(await property('muted')).toBe(true)
  await page.keyboard.press('m')
  await expect.poll(() => property('muted')).toBe(false)
  await page.keyboard.press('k')
  await expect.poll(() => property('paused')).toBe(true)
  await page.keyboard.press('k')
  await expect.poll(() => property('paused')).toBe(false)
  await page.keyboard.press('s')
  await expect(page.getByRole('region', { name: 'Figures of the stream' })).toBeVisible()
})
