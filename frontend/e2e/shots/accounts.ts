import { profile, signedIn } from '../../src/test/fixtures'
import { accountAnswers, mailed, privacyAnswers, settingsAnswers, unconfirmed } from './people'
import { copies, reports, suspended } from './pretended'
import { heading, page0, type Shot } from './shot'

/** How one comes in, what one shows of oneself, and what one may do with what is kept of oneself. */
export const accounts: Shot[] = [
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
    isSpoken: true,
    answers: { ...settingsAnswers, 'GET me/reports': page0(reports) },
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
    path: '/register#setup_token=38619he7kwyapr7q8jppqrhw',
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
    name: 'privacy',
    path: '/settings/privacy',
    as: 'member',
    isWhole: true,
    answers: privacyAnswers,
    until: async (page) => {
      // The first asks for a copy, the last deletes the account; both forms are open.
      const parts = page.locator('main section')
      await parts.first().getByRole('button').click()
      await parts.last().getByRole('button').click()
      await page.locator('input[type=password]').nth(1).waitFor()
    },
  },
  ...Object.entries(copies).map(([state, copy]): Shot => {
    return {
      name: `privacy-${state}`,
      path: '/settings/privacy',
      as: 'member',
      isSpoken: state === 'again',
      answers: { ...privacyAnswers, 'GET me/export': copy },
      until: async (page) => {
        await page.locator('main section .rounded-lg, main section [role=alert]').first().waitFor()
        if (state !== 'ready') return
        await page.locator('main section').first().getByRole('button').first().click()
        await page.locator('input[type=password]').waitFor()
      },
    }
  }),
  ...['closed', 'invite'].map((mode): Shot => {
    return {
      name: `register-${mode}`,
      path: '/register',
      isSpoken: mode === 'invite',
      answers: { 'GET registration': { mode } },
      until: heading,
    }
  }),
  {
    name: 'register-invited',
    path: '/register#AZqVLyTocHqO3v3M2Xb1yVQ0b2xkIHJpdmVyIHdhdGVyIHF1',
    answers: { 'GET registration': { mode: 'invite' } },
    until: (page) => page.locator('input[name=username]').waitFor(),
  },
  ...Object.entries(suspended.notices).map(([length, suspension]): Shot => {
    return {
      name: `sign-in-suspended-${length}`,
      path: '/sign-in',
      isSpoken: length === 'week',
      answers: { 'POST auth/login': { status: 403, code: 'account_suspended', suspension } },
      until: async (page) => {
        await page.locator('input[name=username]').fill('marina')
        await page.locator('input[name=password]').fill('quiet river water')
        await page.locator('form button[type=submit]').click()
        await page.getByRole('alert').waitFor()
      },
    }
  }),
]
