import { channelOf, streamOf } from '../../src/test/fixtures'
import type { Page } from '@playwright/test'
import { noor } from './people'
import { heading, isPlaying, minutesAgo, page0, type Shot } from './shot'
import { liveAnswers, liveNow, offline, videos } from './streams'

/** What viewers see, and how they report it. */
export const watching: Shot[] = [
  {
    name: 'videos',
    path: '/marina/videos',
    answers: { 'GET channels/marina/recordings': page0(videos) },
    until: (page) => page.locator('article').first().waitFor(),
  },
  {
    name: 'videos-empty',
    path: '/marina/videos',
    answers: { 'GET channels/marina/recordings': page0([]) },
    until: heading,
  },
  {
    name: 'video',
    path: '/marina/videos/0',
    answers: { 'GET channels/marina': channelOf(), 'GET recordings/0': videos[0] ?? {} },
    until: heading,
  },
  { name: 'video-gone', path: '/marina/videos/0', until: (page) => page.getByText('Weir').first().waitFor() },
  {
    name: 'home',
    path: '/',
    answers: { 'GET streams?live=true': page0(liveNow), 'GET channels?live=false': page0(offline) },
    until: (page) => page.locator('article').first().waitFor(),
  },
  {
    name: 'home-one',
    path: '/',
    answers: {
      'GET streams?live=true': page0(liveNow.slice(0, 1)),
      'GET channels?live=false': page0(offline.slice(0, 2)),
    },
    until: (page) => page.locator('article').first().waitFor(),
  },
  { name: 'home-empty', path: '/', until: heading },
  {
    name: 'home-loading',
    path: '/',
    answers: { 'GET streams?live=true': 'never', 'GET channels?live=false': 'never' },
    until: heading,
  },
  {
    name: 'home-error',
    path: '/',
    answers: { 'GET streams?live=true': { status: 500, code: 'internal' } },
    until: (page) => page.getByRole('alert').first().waitFor(),
  },
  { name: 'watch-live', path: '/marina', answers: liveAnswers, until: isPlaying },
  {
    name: 'watch-quality',
    path: '/marina',
    answers: liveAnswers,
    until: async (page) => {
      await isPlaying(page)
      await page.getByTestId('player-video').hover()
      await page.locator('.player-button:has(.lucide-settings2, .lucide-settings-2)').click()
      await page.getByRole('menu').waitFor()
    },
  },
  {
    name: 'watch-figures',
    path: '/marina',
    answers: liveAnswers,
    until: async (page) => {
      await isPlaying(page)
      await page.keyboard.press('s')
      await page.mouse.move(200, 300)
      await page.waitForTimeout(1200)
    },
  },
  {
    name: 'watch-offline',
    path: '/marina',
    answers: {
      'GET channels/marina': channelOf(),
      'GET streams?live=false': page0([
        streamOf({ ended_at: minutesAgo(200), thumbnail_url: '/live/1/thumbnail.jpg' }),
      ]),
      'GET streams?live=true': page0(liveNow.slice(1, 4)),
    },
    until: (page) => page.getByTestId('offline-stage').locator('time').waitFor(),
  },
  {
    name: 'watch-loading',
    path: '/marina',
    answers: { 'GET channels/marina': 'never' },
    until: (page) => page.locator('.skeleton').first().waitFor(),
  },
  {
    name: 'menu',
    path: '/',
    as: 'member',
    answers: { 'GET streams?live=true': page0(liveNow) },
    until: async (page) => {
      await page.locator('article').first().waitFor()
      await page.locator('header button').first().click()
      await page.getByRole('menu').waitFor()
    },
  },
  {
    name: 'report',
    path: '/marina',
    as: 'member',
    isSpoken: true,
    answers: {
      ...liveAnswers,
      'GET channels/marina': { ...liveAnswers['GET channels/marina'], owner: noor },
    },
    until: async (page) => {
      await openReport(page)
      await page.getByRole('dialog').locator('button[type=submit]').click()
      await page.locator('[aria-invalid]').first().waitFor()
    },
  },
  {
    name: 'report-again',
    path: '/marina/videos/0',
    as: 'member',
    answers: {
      'GET channels/marina': channelOf({ owner: noor }),
      'GET recordings/0': videos[0] ?? {},
      'POST reports': { status: 409, code: 'already_reported' },
    },
    until: async (page) => {
      await openReport(page)
      const dialog = page.getByRole('dialog')
      await dialog.getByRole('radio').first().check()
      await dialog
        .locator('textarea')
        .fill('https://films.example.org/quiet-river/2019/with-a-long-name.html')
      await dialog.locator('button[type=submit]').click()
      await dialog.getByRole('alert').waitFor()
    },
  },
  { name: 'not-found', path: '/no/such/page', until: (page) => page.locator('main p').first().waitFor() },
]

async function openReport(page: Page): Promise<void> {
  await page.locator('button:has(.lucide-flag)').click()
  await page.getByRole('dialog').waitFor()
}
