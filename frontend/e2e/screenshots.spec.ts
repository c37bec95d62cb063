import AxeBuilder from '@axe-core/playwright'
import { mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test, type Page } from '@playwright/test'
import {
  channelOf,
  liveChannelOf,
  liveIngest,
  profile,
  recordingOf,
  recordingSettingsOf,
  signedIn,
  streamOf,
  waiting,
} from '../src/test/fixtures'
import { drawMedia, serveApi, serveMedia, type Answer } from './pretence'

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

interface Shot {
  name: string
  path: string
  as?: 'member'
  answers?: Record<string, Answer>
  /** The page to its end, not only what one sees at first. */
  isWhole?: boolean
  /** Brings the page into the state, once it is there. */
  until: (page: Page) => Promise<unknown>
}

const page0 = (items: object[], next: string | null = null) => ({ items, next_cursor: next })
const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000).toISOString()
const titles: [string, string][] = [
  ['marina', 'Night shift on the river'],
  ['oksana_paints', 'Painting a whole wall in one go, and answering everything you ask'],
  ['pixel_garden', 'Cellular automata until they die'],
  ['le_petit_atelier', 'Reliure d’un vieux livre, de la couture à la couverture'],
  ['chess_with_pavel', 'Блиц с подписчиками'],
  ['kyiv_synth', 'Модульний синтезатор: нічна імпровізація'],
  ['cook_slow', 'Bread, seven hours of it'],
  ['rowing_club', 'Regatta, heats and finals'],
]
const liveNow = titles.map(([handle, title], index) =>
  streamOf({
    id: `${index}`,
    handle,
    title,
    started_at: minutesAgo(7 + index * 41),
    thumbnail_url: `/live/${index}/thumbnail.jpg`,
  }),
)
const offline = [
  'Chess on Sundays',
  'Morning run',
  'Code review, live',
  'Radio without pictures',
  'The aquarium',
].map((title, index) => channelOf({ handle: `offline_${index}`, id: `off-${index}`, title }))
const key = {
  stream_key: 'live_q7v2m4k9x1c8b3n6',
  rtmp_url: 'rtmp://stream.example.org:1935/live',
  rtmps_url: 'rtmps://stream.example.org:1936/live',
}
const qr =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 29 29"><path fill="#fff" d="M0 0h29v29H0z"/><path d="M4 4h7v7H4zm14 0h7v7h-7zM4 18h7v7H4zm9-8h3v3h-3zm4 6h4v4h-4zm-3 5h3v3h-3z"/></svg>'
const device = {
  id: 'here',
  is_current: true,
  browser: 'Firefox',
  system: 'Linux',
  network: '203.0.113.0/24',
  opened_at: minutesAgo(60 * 24 * 3),
  last_used_at: minutesAgo(4),
}
const avatar = { small_url: '/media/avatars/marina-64.jpg', large_url: '/media/avatars/marina-256.jpg' }
const bio = 'Доглядаю шлюз і знімаю річку вночі.\nЗапитання про воду, рибу та баржі — в ефірі.'
const marina = { ...profile, display_name: 'Марина зі шлюзу', bio, avatar }
const accountAnswers = {
  'GET me': marina,
  'GET accounts/marina': { ...marina, channel_count: 3, created_at: '2026-11-02T09:00:00Z' },
  'GET accounts/marina/channels': page0([liveChannelOf(), ...offline.slice(0, 2)]),
  'GET accounts/marina/streams': page0([
    streamOf({ started_at: minutesAgo(94) }),
    ...titles.slice(1, 5).map(([handle, title], index) =>
      streamOf({
        id: `past-${index}`,
        handle,
        title,
        is_live: false,
        started_at: minutesAgo(3000 + index * 9000),
        ended_at: minutesAgo(2900 + index * 9000),
        duration_ms: 6_000_000 + index * 777_000,
      }),
    ),
  ]),
}
const unconfirmed = { ...signedIn, account: { ...signedIn.account, is_email_confirmed: false } }
const mailed = { expires_at: '2026-11-22T08:00:00Z', again_at: '2026-11-21T08:01:00Z' }
const settingsAnswers = {
  'GET me': marina,
  'GET auth/sessions': page0([
    device,
    {
      ...device,
      id: 'phone',
      is_current: false,
      browser: 'Safari',
      system: 'iPhone',
      network: '2001:db8:85a3::/48',
    },
    { ...device, id: 'other', is_current: false, browser: null, system: null, network: null },
  ]),
  'GET auth/tokens': page0([
    {
      id: 'one',
      name: 'Schedule on the site of the rowing club',
      scopes: ['read', 'channels:write', 'stream_keys', 'exports:write'],
      expires_at: minutesAgo(-60 * 24 * 80),
      created_at: minutesAgo(60 * 24 * 10),
      last_used_at: minutesAgo(70),
    },
  ]),
  'POST auth/second-factor': {
    id: 'seed',
    secret: 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ',
    uri: 'otpauth://totp/weir',
    qr_svg: qr,
  },
}
const channelAnswers = {
  'GET channels/marina': channelOf(),
  'GET channels/marina/stream-key': key,
  'GET channels/marina/ingest': waiting,
  'GET channels/marina/recording-settings': recordingSettingsOf(true),
}
const liveAnswers = {
  'GET channels/marina': liveChannelOf({ thumbnail_url: '/live/0/thumbnail.jpg', live_stream_id: '0' }),
  'GET streams/0': streamOf({ started_at: minutesAgo(94) }),
  'GET streams?live=true': page0(liveNow),
}
const videos = titles.map(([, title], index) =>
  recordingOf({
    id: `${index}`,
    title,
    duration_ms: 754_000 + index * 1_913_000,
    size_bytes: 420_000_000 + index * 910_000_000,
    started_at: minutesAgo(90 + index * 3_100),
    thumbnail_url: `/vod/${index}/thumbnail.jpg`,
    playback: { hls_url: `/vod/${index}/index.m3u8`, dash_url: null },
  }),
)
const ownVideos = [
  recordingOf({
    id: '20',
    title: 'Night shift on the river',
    status: 'recording',
    playback: null,
    duration_ms: null,
    size_bytes: null,
    thumbnail_url: null,
    started_at: minutesAgo(12),
  }),
  ...videos.slice(0, 2),
  recordingOf({ ...videos[2], id: '22', visibility: 'unlisted', cut_short: 'storage_full' }),
  recordingOf({
    id: '23',
    title: 'Storm',
    status: 'failed',
    failure: 'storage_full',
    playback: null,
    duration_ms: null,
    size_bytes: null,
    thumbnail_url: null,
    started_at: minutesAgo(9_000),
  }),
]
const heading = (page: Page) => page.getByRole('heading', { level: 1 }).waitFor()

const shots: Shot[] = [
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
    name: 'dashboard-videos',
    path: '/dashboard/marina',
    as: 'member',
    isWhole: true,
    answers: {
      ...channelAnswers,
      'GET channels/marina/recordings': page0(ownVideos),
      'GET channels/marina/recording-settings': recordingSettingsOf(true),
    },
    until: (page) => page.getByRole('switch').first().waitFor(),
  },
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
  {
    name: 'sign-in-code',
    path: '/sign-in',
    answers: { 'POST auth/login': { status: 401, code: 'second_factor_required' } },
    until: async (page) => {
      await page.locator('input[name=username]').fill('marina')
      await page.locator('input[name=password]').fill('quiet river water')
      await page.locator('form button[type=submit]').click()
      await page.locator('input[autocomplete=one-time-code]').waitFor()
    },
  },
  {
    name: 'account',
    path: '/accounts/marina',
    as: 'member',
    isWhole: true,
    answers: accountAnswers,
    until: (page) =>
      page
        .getByText(/Regatta|Reliure/)
        .first()
        .waitFor(),
  },
  {
    name: 'account-empty',
    path: '/accounts/marina',
    answers: {
      'GET accounts/marina': { ...profile, channel_count: 0, created_at: '2026-11-02T09:00:00Z' },
      'GET accounts/marina/channels': page0([]),
      'GET accounts/marina/streams': page0([]),
    },
    until: (page) => page.locator('#streams-heading').waitFor(),
  },
  {
    name: 'account-none',
    path: '/accounts/nobody',
    until: (page) =>
      page
        .getByText(/nobody/)
        .first()
        .waitFor(),
  },
  {
    name: 'settings',
    path: '/settings',
    as: 'member',
    isWhole: true,
    answers: settingsAnswers,
    until: (page) => page.getByText('iPhone').waitFor(),
  },
  {
    name: 'settings-code',
    path: '/settings',
    as: 'member',
    isWhole: true,
    answers: { ...settingsAnswers, 'GET auth/tokens': page0([]) },
    until: async (page) => {
      await page.locator('section').nth(3).getByRole('button').click()
      await page.locator('section').nth(3).locator('input[type=password]').fill('quiet river water')
      await page.locator('section').nth(3).locator('button[type=submit]').click()
      await page.locator('section').nth(3).getByRole('img').waitFor()
      await page.locator('section').nth(5).getByRole('button').click()
    },
  },
  {
    name: 'settings-recovery',
    path: '/settings',
    as: 'member',
    isWhole: true,
    answers: {
      ...settingsAnswers,
      'POST auth/refresh': { ...signedIn, account: { ...signedIn.account, has_second_factor: true } },
      'PUT auth/second-factor/recovery-codes': {
        codes: Array.from({ length: 10 }, (_, index) => `k7qm${index}-f9xc${index}`),
      },
    },
    until: async (page) => {
      const section = page.locator('section').nth(3)
      await section.getByRole('button').first().click()
      await section.locator('input[type=password]').fill('quiet river water')
      await section.locator('input[autocomplete=one-time-code]').fill('123456')
      await section.locator('button[type=submit]').click()
      await section.locator('ol').waitFor()
    },
  },
  {
    name: 'settings-email',
    path: '/settings',
    as: 'member',
    answers: { ...settingsAnswers, 'POST auth/refresh': unconfirmed },
    until: async (page) => {
      await page.locator('section').nth(1).scrollIntoViewIfNeeded()
      await page.locator('section').nth(1).locator('input[autocomplete=one-time-code]').waitFor()
    },
  },
  {
    name: 'settings-email-change',
    path: '/settings',
    as: 'member',
    answers: { ...settingsAnswers, 'POST auth/email/change': { ...mailed, needs_present_code: true } },
    until: async (page) => {
      const section = page.locator('section').nth(1)
      await section.getByRole('button').click()
      await section.locator('input[type=email]').fill('marina@example.net')
      await section.locator('input[type=password]').fill('quiet river water')
      await section.locator('button[type=submit]').click()
      await section.locator('input[autocomplete=one-time-code]').first().waitFor()
      await section.scrollIntoViewIfNeeded()
    },
  },
  {
    name: 'confirm-email',
    path: '/confirm-email#k7qm-2f9x',
    as: 'member',
    answers: { 'POST auth/refresh': unconfirmed },
    until: (page) => page.locator('input[autocomplete=one-time-code]').waitFor(),
  },
  { name: 'reset-password', path: '/reset-password', until: heading },
  {
    name: 'reset-password-code',
    path: '/reset-password#k7qm-2f9x',
    answers: { 'PUT auth/password/reset': { status: 403, code: 'second_factor_required' } },
    until: async (page) => {
      await page.locator('input[autocomplete=username]').fill('marina')
      await page.locator('input[autocomplete=new-password]').fill('quiet river water')
      await page.locator('form button[type=submit]').click()
      await page.locator('input[autocomplete=one-time-code]').nth(1).waitFor()
    },
  },
  { name: 'register', path: '/register', until: heading },
  {
    name: 'register-administrator',
    path: '/register?setup_token=38619he7kwyapr7q8jppqrhw',
    until: async (page) => {
      await page.locator('input[name=username]').fill('no good')
      await page.locator('form button[type=submit]').click()
      await page.locator('[aria-invalid]').first().waitFor()
    },
  },
  {
    name: 'sign-in-wrong',
    path: '/sign-in?next=/dashboard',
    answers: { 'POST auth/login': { status: 401, code: 'credentials_wrong' } },
    until: async (page) => {
      await page.locator('input[name=username]').fill('marina')
      await page.locator('input[name=password]').fill('not this one')
      await page.locator('form button[type=submit]').click()
      await page.getByRole('alert').waitFor()
    },
  },
  {
    name: 'new-channel',
    path: '/new-channel',
    as: 'member',
    until: async (page) => {
      await page.locator('input[name=handle]').fill('Night_River')
      await page.locator('input[name=title]').fill('Night shift on the river')
    },
  },
  {
    name: 'own-channels',
    path: '/dashboard',
    as: 'member',
    answers: {
      'GET channels': page0([
        liveChannelOf(),
        channelOf({ handle: 'second_channel', title: 'The other one' }),
      ]),
    },
    until: (page) => page.locator('main li').first().waitFor(),
  },
  {
    name: 'own-channels-none',
    path: '/dashboard',
    as: 'member',
    answers: { 'GET channels': page0([]) },
    until: heading,
  },
  {
    name: 'dashboard-waiting',
    path: '/dashboard/marina',
    as: 'member',
    answers: {
      ...channelAnswers,
      'GET channels/marina/ingest': {
        ...waiting,
        last_refusal: { code: 'key_unknown', message: '', at: minutesAgo(2) },
      },
    },
    until: (page) => page.getByTestId('stream-key').waitFor(),
  },
  {
    name: 'dashboard-live',
    path: '/dashboard/marina',
    as: 'member',
    isWhole: true,
    answers: {
      ...channelAnswers,
      'GET channels/marina': liveAnswers['GET channels/marina'],
      'GET channels/marina/ingest': {
        ...liveIngest,
        connected_since: minutesAgo(94),
        advice: [{ code: 'bitrate_varies', message: '' }],
      },
    },
    until: isPlaying,
  },
  {
    name: 'dashboard-new-key',
    path: '/dashboard/marina',
    as: 'member',
    answers: channelAnswers,
    until: async (page) => {
      await page.locator('[data-testid=stream-key]').waitFor()
      await page.locator('button:has(.lucide-refresh-cw)').click()
      await page.getByRole('dialog').waitFor()
    },
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
  { name: 'not-found', path: '/no/such/page', until: (page) => page.locator('main p').first().waitFor() },
]

async function isPlaying(page: Page): Promise<void> {
  await page.waitForFunction(() => {
    const video = document.querySelector('video')
    return video !== null && video.currentTime > 0 && video.readyState >= 3
  })
  await page.waitForTimeout(600)
}

test.beforeAll(() => {
  drawMedia()
  mkdirSync(out, { recursive: true })
})

for (const shot of shots.filter(({ name }) => only.split(',').some((part) => name.includes(part)))) {
  for (const theme of ['dark', 'light'] as const) {
    test(`${shot.name}, ${theme}`, async ({ browser }) => {
      const context = await browser.newContext({
        colorScheme: theme,
        locale: language,
        reducedMotion: 'reduce',
      })
      await context.addInitScript(
        ({ chosen, isMember }) => {
          localStorage.setItem('weir:language', chosen)
          if (isMember) localStorage.setItem('weir:session', '1')
        },
        { chosen: language, isMember: shot.as === 'member' },
      )
      const found: string[] = []
      for (const size of sizes) {
        const page = await context.newPage()
        await page.setViewportSize(size)
        page.on('pageerror', (error) => found.push(`error: ${error.message}`))
        await serveApi(page, {
          'POST auth/refresh': signedIn,
          'GET streams': page0([]),
          'GET channels': page0([]),
          ...shot.answers,
        })
        await serveMedia(page)
        await page.goto(shot.path)
        await shot.until(page)
        await page.evaluate(() => document.fonts.ready)
        await page.waitForLoadState('networkidle', { timeout: 1500 }).catch(() => undefined)
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
        if (overflow > 0) found.push(`${size.width}: ${overflow} px too wide`)
        await page.screenshot({
          path: join(out, `${shot.name}-${theme}-${size.width}.png`),
          fullPage: shot.isWhole,
        })
        if (size.width === 360 || size.width === 1440) {
          const { violations } = await new AxeBuilder({ page })
            // A menu hangs at the end of the page, outside its landmarks, and says by itself what it is.
            .exclude('[data-radix-popper-content-wrapper]')
            .analyze()
          for (const { id, nodes } of violations) {
            found.push(
              `${size.width}: ${id}: ${nodes.map((node) => `${node.html} ${node.any[0]?.message ?? ''}`).join(' | ')}`,
            )
          }
        }
        await page.close()
      }
      await context.close()
      expect(found).toEqual([])
    })
  }
}
