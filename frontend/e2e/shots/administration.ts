import { queued, registrationInvites, suspended } from './pretended'
import { heading, page0, type Shot } from './shot'

/** What administrators see. */
export const administration: Shot[] = [
  { name: 'admin', path: '/admin', as: 'administrator', isSpoken: true, until: heading },
  {
    name: 'admin-reports',
    path: '/admin/reports',
    as: 'administrator',
    isWhole: true,
    isSpoken: true,
    answers: { 'GET admin/reports': page0(queued) },
    until: async (page) => {
      await page.locator('article').first().getByRole('button').click()
      await page.getByRole('radio').last().check()
      await page.locator('article select').waitFor()
    },
  },
  {
    name: 'admin-reports-none',
    path: '/admin/reports',
    as: 'administrator',
    answers: { 'GET admin/reports': page0([]) },
    until: heading,
  },
  {
    name: 'admin-reports-loading',
    path: '/admin/reports',
    as: 'administrator',
    answers: { 'GET admin/reports': 'never' },
    until: heading,
  },
  {
    name: 'admin-accounts',
    path: '/admin/accounts',
    as: 'administrator',
    isSpoken: true,
    answers: { 'GET admin/accounts': page0(suspended.accounts) },
    until: (page) => page.locator('main li').nth(5).waitFor(),
  },
  {
    name: 'admin-accounts-suspend',
    path: '/admin/accounts',
    as: 'administrator',
    answers: { 'GET admin/accounts': page0(suspended.accounts) },
    until: async (page) => {
      await page.locator('main li').nth(5).waitFor()
      await page.locator('main li button').last().click()
      await page.getByRole('dialog').waitFor()
    },
  },
  {
    name: 'admin-registration',
    path: '/admin/registration',
    as: 'administrator',
    isWhole: true,
    isSpoken: true,
    answers: {
      'GET registration': { mode: 'invite' },
      'GET admin/registration-invites': page0(registrationInvites),
      'POST admin/registration-invites': {
        invite: registrationInvites[0],
        url: 'https://stream.example.org/register#AZqVLyTocHqO3v3M2Xb1yVQ0b2xkIHJpdmVyIHdhdGVyIHF1',
      },
    },
    until: async (page) => {
      await page.locator('main form button[type=submit]').click()
      await page.getByTestId('registration-invite').waitFor()
    },
  },
  {
    name: 'admin-registration-none',
    path: '/admin/registration',
    as: 'administrator',
    answers: { 'GET admin/registration-invites': page0([]) },
    until: async (page) => {
      await page.locator('main form input').fill('0')
      await page.locator('[aria-invalid]').waitFor()
    },
  },
]
