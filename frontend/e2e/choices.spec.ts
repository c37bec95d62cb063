import { expect, type Page, test } from '@playwright/test'
import { waitForMovingPicture } from './picture'

/**
 * What a viewer may choose beside pressing play. Needs a live channel that has been on for half a
 * minute and has a smaller rendition: `WEIR_CHANNEL`. With its owner's `WEIR_USERNAME` and
 * `WEIR_PASSWORD` it is made private at the end.
 */
const handle = process.env.WEIR_CHANNEL ?? ''

test.describe.configure({ mode: 'serial', timeout: 1_200_000 })
/** For what a player decides by itself, of what it has measured for a while. */
const patience = { timeout: 240_000 }
test.skip(handle === '', 'no channel is named')

async function watch(page: Page): Promise<void> {
  await page.goto(`/${handle}`)
  await waitForMovingPicture(page)
}

const pictureHeight = (page: Page) =>
  page.getByTestId('player-video').evaluate((video) => (video as HTMLVideoElement).videoHeight)

/** Of the source, by the playlist that names all there is. */
function sourceHeight(page: Page): Promise<number> {
  return page.evaluate(async (name) => {
    const channel = (await (await fetch(`/api/v1/channels/${name}`)).json()) as { live_stream_id: string }
    const master = await (await fetch(`/live/${channel.live_stream_id}/index.m3u8`)).text()
    return Number(/RESOLUTION=\d+x(\d+)[^\n]*\nsource\//.exec(master)?.[1])
  }, handle)
}

/** The numbers of the source's segments that are asked for from now on. */
function followSegments(page: Page): number[] {
  const numbers: number[] = []
  page.on('request', (request) => {
    const number = /\/[^/]+\/s(\d+)\.m4s$/.exec(new URL(request.url()).pathname)?.[1]
    if (number !== undefined) numbers.push(Number(number))
  })
  return numbers
}

/** Presses a control of the player: they hide by themselves after a while, which on a slow machine may be before the click. */
async function press(page: Page, name: string): Promise<void> {
  await expect(async () => {
    await page.mouse.move(5, 5)
    await page.getByTestId('player-video').hover()
    await page.getByRole('button', { name }).click({ timeout: 10_000 })
  }).toPass({ timeout: 240_000 })
}

test('a smaller picture and back', async ({ page }) => {
  await watch(page)
  const full = await pictureHeight(page)
  const choose = async (which: 'first' | 'last') => {
    await press(page, 'Quality')
    // The first choice is to leave it to the player.
    const choices = page.getByRole('menuitemradio').filter({ hasNotText: 'Automatic' })
    await (which === 'first' ? choices.first() : choices.last()).click({ timeout: 10_000 })
  }
  // The smaller one is given up for a while when the machine has no time for it, and then it is not there to be chosen.
  await expect(async () => {
    await choose('last')
    await expect.poll(() => pictureHeight(page), { timeout: 20_000 }).toBeLessThan(full)
  }).toPass({ timeout: 400_000 })
  await waitForMovingPicture(page)
  await choose('first')
  await expect.poll(() => pictureHeight(page)).toBe(full)
})

test('a smaller picture by itself on a slow line, and the full one again', async ({ page }) => {
  await watch(page)
  const full = await sourceHeight(page)
  await press(page, 'Quality')
  await expect(page.getByRole('menuitemradio', { name: /Automatic/ })).toBeChecked()
  await page.keyboard.press('Escape')
  await expect.poll(() => pictureHeight(page), patience).toBe(full)
  const line = await page.context().newCDPSession(page)
  const letThrough = (downloadThroughput: number) =>
    line.send('Network.emulateNetworkConditions', {
      offline: false,
      latency: 5,
      downloadThroughput,
      uploadThroughput: -1,
    })
  await line.send('Network.enable')
  // Bytes a second: less than the source has, more than the smallest.
  await letThrough(60_000)
  await expect.poll(() => pictureHeight(page), patience).toBeLessThan(full)
  await waitForMovingPicture(page)
  await letThrough(-1)
  await expect.poll(() => pictureHeight(page), patience).toBe(full)
  await waitForMovingPicture(page)
})

test('back in time, and to now again', async ({ page }) => {
  await watch(page)
  const numbers = followSegments(page)
  const bar = page.getByRole('slider', { name: 'Rewind' })
  await expect(bar).toBeVisible()
  const reach = async () => -Number(await bar.getAttribute('min'))
  await expect.poll(reach, patience).toBeGreaterThan(20)
  const back = Math.min(120, (await reach()) - 2)
  const newest = await page.evaluate(async (name) => {
    const channel = (await (await fetch(`/api/v1/channels/${name}`)).json()) as { live_stream_id: string }
    const playlist = await (await fetch(`/live/${channel.live_stream_id}/source/index.m3u8`)).text()
    return Number([...playlist.matchAll(/^s(\d+)\.m4s$/gm)].at(-1)?.[1])
  }, handle)
  await bar.fill(String(-back))
  await bar.blur()
  await expect(page.getByRole('button', { name: 'Go live' })).toBeEnabled()
  // A segment lasts four seconds at most: none of the last dozen seconds can be so old.
  await expect.poll(() => Math.min(...numbers)).toBeLessThan(newest - back / 5)
  await waitForMovingPicture(page)
  await press(page, 'Go live')
  await expect(page.getByRole('button', { name: /^Live/ })).toBeVisible()
  await waitForMovingPicture(page)
  await expect(page.getByRole('button', { name: 'Go live' })).toHaveCount(0)
})

test('a page that could do nothing for a while is brought back to now', async ({ page }) => {
  await watch(page)
  await page.evaluate(() => {
    const until = performance.now() + 9000
    while (performance.now() < until);
  })
  await waitForMovingPicture(page)
  const latency = async () => {
    const text = await page.getByRole('button', { name: /^(Live|Go live)/ }).innerText()
    return Number(/([\d.]+)s/.exec(text)?.[1] ?? 99)
  }
  await expect.poll(latency, patience).toBeLessThan(5)
})

test('a channel that becomes private is its owner’s alone', async ({ page, request }) => {
  const [username, password] = [process.env.WEIR_USERNAME, process.env.WEIR_PASSWORD]
  test.skip(username === undefined || password === undefined, 'no owner is named')
  await watch(page)
  const signedIn = await request.post('/api/v1/auth/login', { data: { username, password } })
  const { access_token: token } = (await signedIn.json()) as { access_token: string }
  const answer = await request.patch(`/api/v1/channels/${handle}`, {
    data: { visibility: 'private' },
    headers: { authorization: `Bearer ${token}` },
  })
  expect(answer.status()).toBe(200)
  // An open page is refused the next part, and the channel is not there any more.
  const gone = page.getByText(`There is no channel “${handle}”`)
  await expect(gone.or(page.getByText('You may not watch this stream'))).toBeVisible()
  await page.goto(`/${handle}`)
  await expect(gone).toBeVisible()
  await page.goto(`/sign-in?next=${encodeURIComponent(`/${handle}`)}`)
  await page.getByLabel('Username').fill(username ?? '')
  await page.getByLabel('Password', { exact: true }).fill(password ?? '')
  await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click()
  await waitForMovingPicture(page)
})
