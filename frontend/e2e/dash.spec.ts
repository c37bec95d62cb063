import { createRequire } from 'node:module'
import { expect, type Page, test } from '@playwright/test'

/** Without low latency it would be three segments behind at the least. */
const nearSeconds = 4
/** What dash.js calls an address at which there is nothing: `DOWNLOAD_ERROR_ID_CONTENT_CODE`. */
const notThere = 27

/**
 * A player of DASH that is not ours, in a page that is not ours. Needs a live stream of a public
 * channel: that of `WEIR_CHANNEL`, else the first that is live.
 */
const player = createRequire(import.meta.url).resolve('dashjs')

interface Stream {
  id: string
  playback: { dash_url: string }
}

interface Glance {
  currentTime: number
  latency: number
  frames: number
  waits: number
  errors: string[]
}

async function glance(page: Page): Promise<Glance> {
  return page.evaluate(() => (window as unknown as { glance: () => Glance }).glance())
}

test.use({ bypassCSP: true })

test('dash.js plays a live stream near its edge', async ({ page, request }) => {
  const handle = process.env.WEIR_CHANNEL
  const query = handle === undefined ? '' : `&channel=${handle}`
  const answer = await request.get(`/api/v1/streams?live=true&limit=1${query}`)
  const stream = ((await answer.json()) as { items: Stream[] }).items[0]
  test.skip(stream === undefined, 'nothing is live')
  const asked = new Map<string, number>()
  page.on('request', (sent) => asked.set(sent.url(), (asked.get(sent.url()) ?? 0) + 1))
  // A page of the same origin without a player of its own.
  await page.goto('/api/v1/streams')
  await page.setContent('<video muted></video>')
  await page.addScriptTag({ path: player })
  await page.evaluate(
    (url) => {
      interface Player {
        initialize: (video: HTMLVideoElement, url: string, autoPlay: boolean) => void
        on: (event: string, listener: (event: unknown) => void) => void
        getCurrentLiveLatency: () => number
      }
      const global = window as unknown as {
        dashjs: { MediaPlayer: () => { create: () => Player } }
        glance: () => Glance
      }
      const video = document.querySelector('video')
      if (video === null) throw new Error('there is no video')
      const dash = global.dashjs.MediaPlayer().create()
      const errors: string[] = []
      let waits = 0
      dash.on('error', (event) => errors.push(JSON.stringify(event)))
      video.addEventListener('waiting', () => (waits += 1))
      dash.initialize(video, url, true)
      global.glance = () => ({
        currentTime: video.currentTime,
        latency: dash.getCurrentLiveLatency(),
        frames: video.getVideoPlaybackQuality().totalVideoFrames,
        waits,
        errors,
      })
    },
    new URL(stream?.playback.dash_url ?? '').pathname,
  )

  await expect.poll(async () => (await glance(page)).frames).toBeGreaterThan(30)
  const start = await glance(page)
  await expect.poll(async () => (await glance(page)).currentTime).toBeGreaterThan(start.currentTime + 7)
  await expect.poll(async () => (await glance(page)).frames).toBeGreaterThan(start.frames + 100)
  // It finds its place by itself: near to now, by segments that still grow.
  await expect.poll(async () => (await glance(page)).latency, { timeout: 240_000 }).toBeLessThan(nearSeconds)
  const end = await glance(page)
  test.info().annotations.push({
    type: 'latency',
    description: `${end.latency.toFixed(2)} s, waited ${end.waits - start.waits} times`,
  })
  // A segment is asked for once: what its end is said to be does not move under the player.
  const video = () => [...asked].filter(([url]) => /\/v\/s\d+\.m4s$/.test(url))
  await expect.poll(() => video().length).toBeGreaterThan(3)
  const segments = video()
  // An encoder that is held up has not sent by the clock what is asked for by the clock.
  const isLate = (error: string) =>
    (JSON.parse(error) as { error?: { code?: number } }).error?.code === notThere
  expect(end.errors.filter((error) => !isLate(error))).toEqual([])
  expect(end.errors.filter(isLate).length).toBeLessThan(segments.length / 2)
  const again = segments.filter(([, times]) => times > 1).length
  expect(again).toBeLessThan(segments.length / 2)
})
