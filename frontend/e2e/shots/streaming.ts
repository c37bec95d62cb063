import { channelOf, liveChannelOf, liveIngest, recordingSettingsOf, waiting } from '../../src/test/fixtures'
import { slowIngest } from './pretended'
import { heading, isPlaying, minutesAgo, page0, type Shot } from './shot'
import { channelAnswers, liveAnswers, ownVideos } from './streams'

const signedInLongAgo = { status: 403, code: 'reauthentication_required' }

/** What streamers see. */
export const streaming: Shot[] = [
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
    name: 'dashboard-reconnecting',
    path: '/dashboard/marina',
    as: 'member',
    isSpoken: true,
    answers: {
      ...channelAnswers,
      'GET channels/marina': liveAnswers['GET channels/marina'],
      'GET channels/marina/ingest': {
        ...waiting,
        state: 'reconnecting',
        stream_id: '0',
        waits_ms: 47_000,
        last_refusal: { code: 'video_stopped', message: '', at: minutesAgo(0.2) },
      },
    },
    until: async (page) => {
      await page.getByRole('timer').scrollIntoViewIfNeeded()
    },
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
  {
    name: 'dashboard-prove',
    path: '/dashboard/marina',
    as: 'member',
    isSpoken: true,
    answers: { ...channelAnswers, 'GET channels/marina/stream-key': signedInLongAgo },
    until: async (page) => {
      await page.locator('main input[type=password]').fill('a river goes over it')
      await page.locator('main form:has(input[type=password])').scrollIntoViewIfNeeded()
    },
  },
  {
    name: 'dashboard-new-key-prove',
    path: '/dashboard/marina',
    as: 'member',
    isSpoken: true,
    answers: { ...channelAnswers, 'POST channels/marina/stream-key/rotate': signedInLongAgo },
    until: async (page) => {
      await page.locator('[data-testid=stream-key]').waitFor()
      await page.locator('button:has(.lucide-refresh-cw)').click()
      await page.getByRole('dialog').locator('button[type=submit]').click()
      await page.getByRole('dialog').locator('input[type=password]').waitFor()
    },
  },
  {
    name: 'dashboard-slow',
    path: '/dashboard/marina',
    as: 'member',
    isWhole: true,
    isSpoken: true,
    answers: {
      ...channelAnswers,
      'GET channels/marina': liveAnswers['GET channels/marina'],
      'GET channels/marina/ingest': slowIngest,
    },
    until: async (page) => {
      await isPlaying(page)
      await page.getByTestId('ingest-state').scrollIntoViewIfNeeded()
    },
  },
]
