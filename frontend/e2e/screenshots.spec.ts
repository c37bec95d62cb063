import AxeBuilder from '@axe-core/playwright'
import { mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test, type Browser } from '@playwright/test'
import { signedIn } from '../src/test/fixtures'
import { drawMedia, serveApi, serveMedia } from './pretence'
import { accounts } from './shots/accounts'
import { administration } from './shots/administration'
import { administrator } from './shots/people'
import { page0, type Shot } from './shots/shot'
import { streaming } from './shots/streaming'
import { watching } from './shots/watching'

/**
 * Every page in every state, to be looked at, and judged by axe on the way (colours too).
 * `WEIR_SHOTS` is where they go, `WEIR_SHOTS_LANGUAGE` their language (uk: the longest),
 * `WEIR_SHOTS_ONLY` parts of the names to take alone, with commas between.
 */
const out = process.env.WEIR_SHOTS ?? join(tmpdir(), 'weir-screenshots')
const language = process.env.WEIR_SHOTS_LANGUAGE ?? 'uk'
const only = process.env.WEIR_SHOTS_ONLY ?? ''
const sizes = [
  { width: 360, height: 740 },
  { width: 768, height: 1024 },
  { width: 1440, height: 900 },
  { width: 2200, height: 1240 },
]

const languages = ['en', 'uk', 'ru', 'fr']
const shots: Shot[] = [...watching, ...streaming, ...accounts, ...administration]

test.beforeAll(() => {
  drawMedia()
  mkdirSync(out, { recursive: true })
})

interface Look {
  theme: 'dark' | 'light'
  language: string
  sizes: readonly { width: number; height: number }[]
}

/** Takes the pictures of a shot; what is wrong on them. */
async function look(browser: Browser, shot: Shot, { theme, language, sizes }: Look): Promise<string[]> {
  const context = await browser.newContext({ colorScheme: theme, locale: language, reducedMotion: 'reduce' })
  await context.addInitScript(
    ({ chosen, isSignedIn }) => {
      localStorage.setItem('weir:language', chosen)
      if (isSignedIn) localStorage.setItem('weir:session', '1')
    },
    { chosen: language, isSignedIn: shot.as !== undefined },
  )
  const found: string[] = []
  for (const size of sizes) {
    const name = `${shot.name}-${theme}-${size.width}-${language}`
    const page = await context.newPage()
    await page.setViewportSize(size)
    page.on('pageerror', (error) => found.push(`${name}: ${error.message}`))
    await serveApi(page, {
      'POST auth/refresh': shot.as === 'administrator' ? administrator : signedIn,
      'GET streams': page0([]),
      'GET channels': page0([]),
      'GET me/reports': page0([]),
      'GET registration': { mode: 'open' },
      ...shot.answers,
    })
    await serveMedia(page)
    await page.goto(shot.path)
    await shot.until(page)
    await page.evaluate(() => document.fonts.ready)
    await page.waitForLoadState('networkidle', { timeout: 1500 }).catch(() => undefined)
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
    if (overflow > 0) found.push(`${name}: ${overflow} px too wide`)
    await page.screenshot({ path: join(out, `${name}.png`), fullPage: shot.isWhole })
    if (size.width === 360 || size.width === 1440) {
      const { violations } = await new AxeBuilder({ page })
        // A menu hangs at the end of the page, outside its landmarks, and says by itself what it is.
        .exclude('[data-radix-popper-content-wrapper]')
        .analyze()
      for (const { id, nodes } of violations) {
        const what = nodes.map((node) => `${node.html} ${node.any[0]?.message ?? ''}`).join(' | ')
        found.push(`${name}: ${id}: ${what}`)
      }
    }
    await page.close()
  }
  await context.close()
  return found
}

for (const shot of shots.filter(({ name }) => only.split(',').some((part) => name.includes(part)))) {
  for (const theme of ['dark', 'light'] as const) {
    test(`${shot.name}, ${theme}`, async ({ browser }) => {
      expect(await look(browser, shot, { theme, language, sizes })).toEqual([])
    })
  }
  if (shot.isSpoken !== true) continue
  test(`${shot.name}, in the other languages`, async ({ browser }) => {
    const found: string[] = []
    for (const other of languages.filter((name) => name !== language)) {
      found.push(...(await look(browser, shot, { theme: 'dark', language: other, sizes: sizes.slice(0, 1) })))
    }
    expect(found).toEqual([])
  })
}
