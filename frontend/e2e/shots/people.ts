import { liveChannelOf, profile, signedIn, streamOf } from '../../src/test/fixtures'
import { minutesAgo, page0 } from './shot'
import { offline, titles } from './streams'

/** What the API is made to answer for accounts and their settings. */

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
export const marina = { ...profile, display_name: 'Марина зі шлюзу', bio, avatar }
export const accountAnswers = {
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
export const administrator = { ...signedIn, account: { ...signedIn.account, is_administrator: true } }
export const unconfirmed = { ...signedIn, account: { ...signedIn.account, is_email_confirmed: false } }
export const mailed = { expires_at: '2026-11-22T08:00:00Z', again_at: '2026-11-21T08:01:00Z' }
export const settingsAnswers = {
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
export const noor = { id: 'noor', username: 'noor_of_the_long_canal', display_name: null, avatar: null }
export const privacyAnswers = { 'GET me/erasure': { after_days: 14, erased_at: null } }
