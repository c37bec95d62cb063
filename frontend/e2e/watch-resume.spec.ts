import { writeFile } from 'node:fs/promises'
import { expect, test } from '@playwright/test'
import { waitForMovingPicture, waitForStillPicture } from './picture'

/**
 * A watch page left open through an interruption that somebody else causes: the encoder goes away
 * and comes back, the server is killed and started again. The page is never reloaded.
 *
 * `WEIR_CHANNEL` names the channel. `WEIR_RESUME_STATE` may name a file into which the state of
 * this test is written, one word: `playing` (interrupt now), `interrupted` (the picture stands
 * still: bring the encoder back), `resumed`. `WEIR_RESUME_WITHIN_MS` (60,000) is how long the
 * picture may be away in all; who interrupts measures from the encoder's return.
 */
test('the picture comes back by itself', async ({ page }) => {
  const handle = process.env.WEIR_CHANNEL
  test.skip(handle === undefined, 'WEIR_CHANNEL names no channel')
  const within = Number(process.env.WEIR_RESUME_WITHIN_MS ?? 60_000)
  test.setTimeout(within + 120_000)
  const stateFile = process.env.WEIR_RESUME_STATE
  const tell = async (state: string) => {
    console.log(`watch-resume: ${state} ${Date.now()}`)
    if (stateFile !== undefined) await writeFile(stateFile, state)
  }

  await page.goto(`/${handle ?? ''}`)
  await waitForMovingPicture(page, 30_000)
  await page.evaluate(() => {
    ;(globalThis as { isSamePage?: boolean }).isSamePage = true
  })
  await tell('playing')
  await waitForStillPicture(page, 90_000)
  await tell('interrupted')
  await waitForMovingPicture(page, within)
  await tell('resumed')
  expect(await page.evaluate(() => (globalThis as { isSamePage?: boolean }).isSamePage)).toBe(true)
})
