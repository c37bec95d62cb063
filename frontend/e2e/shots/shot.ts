import type { Page } from '@playwright/test'
import type { Answer } from '../pretence'

/** A page in a state, to be looked at. */
export interface Shot {
  name: string
  path: string
  as?: 'member' | 'administrator'
  answers?: Record<string, Answer>
  /** The page to its end, not only what one sees at first. */
  isWhole?: boolean
  /** In the other languages as well, on a phone: where names are made of words, and lines are tight. */
  isSpoken?: boolean
  /** Brings the page into the state, once it is there. */
  until: (page: Page) => Promise<unknown>
}

export const page0 = (items: object[], next: string | null = null) => ({ items, next_cursor: next })
export const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000).toISOString()
export const heading = (page: Page) => page.getByRole('heading', { level: 1 }).waitFor()

export async function isPlaying(page: Page): Promise<void> {
  await page.waitForFunction(() => {
    const video = document.querySelector('video')
    return video !== null && video.currentTime > 0 && video.readyState >= 3
  })
  await page.waitForTimeout(600)
}
