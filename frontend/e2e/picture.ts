import { expect, type Page } from '@playwright/test'

interface Glance {
  time: number
  pixels: number[]
}

/** What the player shows at this moment: its time, and the picture shrunk to a few numbers. */
async function glance(page: Page): Promise<Glance | null> {
  return page.evaluate(() => {
    const video = document.querySelector<HTMLVideoElement>('[data-testid="player-video"]')
    if (video === null || video.readyState < 2) return null
    const canvas = document.createElement('canvas')
    canvas.width = 48
    canvas.height = 27
    const context = canvas.getContext('2d', { willReadFrequently: true })
    if (context === null) return null
    context.drawImage(video, 0, 0, 48, 27)
    return { time: video.currentTime, pixels: Array.from(context.getImageData(0, 0, 48, 27).data) }
  })
}

function isDifferent(a: Glance, b: Glance): boolean {
  let changed = 0
  for (const [index, value] of a.pixels.entries()) {
    if (Math.abs(value - (b.pixels[index] ?? 0)) > 12) changed += 1
  }
  return changed > 20
}

/** Waits until the picture moves: time passes and pixels change. */
export async function waitForMovingPicture(page: Page): Promise<void> {
  let last: Glance | null = null
  await expect
    .poll(
      async () => {
        const next = await glance(page)
        const moves = last !== null && next !== null && next.time !== last.time && isDifferent(last, next)
        last = next
        return moves
      },
      { intervals: [250], message: 'the picture moves' },
    )
    .toBe(true)
}

/** Waits until the picture has stood still for a while. */
export async function waitForStillPicture(page: Page): Promise<void> {
  let last: Glance | null = null
  let stillSince = Date.now()
  await expect
    .poll(
      async () => {
        const next = await glance(page)
        if (last !== null && next !== null && next.time !== last.time) stillSince = Date.now()
        last = next
        return Date.now() - stillSince > 2000
      },
      // Whoever is to stop it may be kept from it for a while.
      { timeout: 300_000, intervals: [250], message: 'the picture stands still' },
    )
    .toBe(true)
}

export async function currentTime(page: Page): Promise<number> {
  return (await glance(page))?.time ?? 0
}
