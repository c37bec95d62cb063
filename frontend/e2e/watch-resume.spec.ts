import { appendFile } from 'node:fs/promises'
import { expect, test } from '@playwright/test'
import { waitForMovingPicture, waitForStillPicture } from './picture'

/**
 * A watch page left open through an interruption that somebody else causes: the encoder goes away
 * and comes back, the server is killed and started again. The page is never reloaded.
 *
 * `WEIR_CHANNEL` names the channel. `WEIR_RESUME_STATE` may name a file to which the states of
 * this test are added, a line each: `playing` (interrupt now), `interrupted` (the picture stands
 * still: bring the encoder back), `resumed`. Who interrupts measures from the encoder's return.
 */
test('the picture comes back by itself', async ({ page }) => {
  const handle = process.env.WEIR_CHANNEL
  test.skip(handle === undefined, 'WEIR_CHANNEL names no channel')
  test.setTimeout(1_200_000)
  const stateFile = process.env.WEIR_RESUME_STATE
  const tell = async (state: string) => {
    console.log(`watch-resume: ${state} ${Date.now()}`)
    if (stateFile !== undefined) await appendFile(stateFile, `${state}\n`)
  }

  await page.goto(`/${handle ?? ''}`)
  await waitForMovingPicture(page)
  await page.evaluate(() => {
    ;(globalThis as { isSamePage?: boolean }).isSamePage = true
  })
  await tell('playing')
  await waitForStillPicture(page)
  await tell('interrupted')
  await waitForMovingPicture(page)
  await tell('resumed')
  expect(await page.evaluate(() => (globalThis as { isSamePage?: boolean }).isSamePage)).toBe(true)
})
