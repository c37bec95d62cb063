import { expect, type Page, test } from '@playwright/test'
import { waitForMovingPicture } from './picture'

/**
 * What a viewer may choose beside pressing play. Needs a live channel that has been on for half a
 * minute and has a smaller rendition: `WEIR_CHANNEL`. With its owner's access token in
 * `WEIR_TOKEN`, and `WEIR_USERNAME` and `WEIR_PASSWORD`, it is made private at the end.
 */
const handle = process.env.WEIR_CHANNEL ?? ''

test.describe.configure({ mode: 'serial', timeout: 180_000 })
test.skip(handle === '', 'no channel is named')

async function watch(page: Page): Promise<void> {
  await page.goto(`/${handle}`)
  await waitForMovingPicture(page, 60_000)
}

const pictureHeight = (page: Page) =>
  page.getByTestId('player-video').evaluate((video) => (video as HTMLVideoElement).videoHeight)

/** The numbers of the source's segments that are asked for from now on. */
function followSegments(page: Page): number[] {
  const numbers: number[] = []
  page.on('request', (request) => {
    const number = /\/[^/]+\/s(\d+)\.m4s$/.exec(new URL(request.url()).pathname)?.[1]
    if (number !== undefined) numbers.push(Number(number))
  })
  return numbers
}

test('a smaller picture and back', async ({ page }) => {
  await watch(page)
  const full = await pictureHeight(page)
  const choose = async (which: 'first' | 'last') => {
    await page.getByTestId('player-video').hover()
    await page.getByRole('button', { name: 'Quality' }).click()
    // The first choice is to leave it to the player.
    const choices = page.getByRole('menuitemradio').filter({ hasNotText: 'Automatic' })
    await expect(choices.first()).toBeVisible()
    await (which === 'first' ? choices.first() : choices.last()).click()
  }
  await choose('last')
  await expect.poll(() => pictureHeight(page), { timeout: 60_000 }).toBeLessThan(full)
  await waitForMovingPicture(page, 15_000)
  await choose('first')
  await expect.poll(() => pictureHeight(page), { timeout: 60_000 }).toBe(full)
})

test('back in time, and to now again', async ({ page }) => {
  await watch(page)
  const numbers = followSegments(page)
  const bar = page.getByRole('slider', { name: 'Rewind' })
  await expect(bar).toBeVisible({ timeout: 60_000 })
  const back = Math.min(120, -Number(await bar.getAttribute('min')) - 2)
  expect(back).toBeGreaterThan(15)
  const newest = await page.evaluate(async (name) => {
    const channel = (await (await fetch(`/api/v1/channels/${name}`)).json()) as { live_stream_id: string }
    const playlist = await (await fetch(`/live/${channel.live_stream_id}/source/index.m3u8`)).text()
    return Number([...playlist.matchAll(/^s(\d+)\.m4s$/gm)].at(-1)?.[1])
  }, handle)
  await bar.fill(String(-back))
  await bar.blur()
  await expect(page.getByRole('button', { name: 'Go live' })).toBeEnabled()
  // A segment lasts four seconds at most: none of the last dozen seconds can be so old.
  await expect.poll(() => Math.min(...numbers), { timeout: 60_000 }).toBeLessThan(newest - back / 5)
  await waitForMovingPicture(page, 60_000)
  await page.getByTestId('player-video').hover()
  await page.getByRole('button', { name: 'Go live' }).click()
  await expect(page.getByRole('button', { name: /^Live/ })).toBeVisible({ timeout: 60_000 })
  await waitForMovingPicture(page, 60_000)
  await expect(page.getByRole('button', { name: 'Go live' })).toHaveCount(0)
})

test('a page that could do nothing for a while is brought back to now', async ({ page }) => {
  await watch(page)
  await page.evaluate(() => {
    const until = performance.now() + 9000
    while (performance.now() < until);
  })
  await waitForMovingPicture(page, 60_000)
  const latency = async () => {
    const text = await page.getByRole('button', { name: /^(Live|Go live)/ }).innerText()
    return Number(/([\d.]+)s/.exec(text)?.[1] ?? 99)
  }
  await expect.poll(latency, { timeout: 60_000 }).toBeLessThan(5)
})

test('a channel that becomes private is its owner’s alone', async ({ page, request }) => {
  const token = process.env.WEIR_TOKEN
  test.skip(token === undefined, 'nobody is signed in')
  await watch(page)
  const answer = await request.patch(`/api/v1/channels/${handle}`, {
    data: { visibility: 'private' },
    headers: { authorization: `Bearer ${token ?? ''}` },
  })
  expect(answer.status()).toBe(200)
  // An open page is refused the next part, and the channel is not there any more.
  const gone = page.getByText(`There is no channel “${handle}”`)
  await expect(gone.or(page.getByText('You may not watch this stream'))).toBeVisible({ timeout: 60_000 })
  await page.goto(`/${handle}`)
  await expect(gone).toBeVisible({ timeout: 60_000 })
  await page.goto(`/sign-in?next=${encodeURIComponent(`/${handle}`)}`)
  await page.getByLabel('Username').fill(process.env.WEIR_USERNAME ?? '')
  await page.getByLabel('Password', { exact: true }).fill(process.env.WEIR_PASSWORD ?? '')
  await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click()
  await waitForMovingPicture(page, 60_000)
})
