import { screen, waitFor } from '@testing-library/react'
import { HttpResponse } from 'msw'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Schemas } from '@/api/client'
import { session } from '@/features/accounts/session'
import { answer, answerBy, refusal, refuse } from '@/test/api'
import { signedIn } from '@/test/fixtures'
import { expectAccessible, visit } from '@/test/render'
import { formatSize } from './size'

function copyOf(changes: Partial<Schemas['PersonalExport']> = {}): Schemas['PersonalExport'] {
  return {
    id: 'copy',
    status: 'waiting',
    progress: 0,
    size_bytes: null,
    created_at: '2026-11-21T08:00:00Z',
    completed_at: null,
    expires_at: null,
    again_at: null,
    error: null,
    error_code: null,
    ...changes,
  }
}

const ready = copyOf({
  status: 'ready',
  progress: 1,
  size_bytes: 45_000,
  completed_at: '2026-11-21T08:00:03Z',
  expires_at: '2026-11-28T08:00:03Z',
})

beforeEach(() => {
  refuse('get', 'me/export', 404, 'not_found')
  answer('get', 'me/erasure', { after_days: 14, erased_at: null })
})

afterEach(() => {
  vi.restoreAllMocks()
})

describe('a copy of one’s data', () => {
  it('is asked for with the password, tells how far it is, and is downloaded', async () => {
    const { user } = visit('/settings/privacy', 'member')
    await screen.findByText('You have not asked for a copy yet.')
    await expectAccessible()
    await user.click(screen.getByRole('button', { name: 'Ask for a copy' }))
    let sent: unknown
    answerBy('post', 'me/export', async (request) => {
      sent = await request.json()
      return refusal(403, 'password_wrong')
    })
    await user.type(screen.getByLabelText('Your password'), 'quiet river water')
    await user.click(screen.getByRole('button', { name: 'Make the copy' }))
    expect(await screen.findByRole('alert')).toHaveTextContent('The password is wrong')
    expect(sent).toEqual({ password: 'quiet river water' })
    answer('get', 'me/export', copyOf({ status: 'running', progress: 0.4 }))
    answer('post', 'me/export', copyOf(), 201)
    await user.click(screen.getByRole('button', { name: 'Make the copy' }))
    await waitFor(() => expect(screen.getByRole('progressbar')).toHaveAttribute('aria-valuenow', '40'))
    expect(screen.queryByRole('button', { name: /Ask for/ })).toBeNull()
    answer('get', 'me/export', ready)
    await user.click(await screen.findByRole('button', { name: 'Download' }))
    expect(screen.getByText(/45 kB, kept until November 28, 2026/)).toBeInTheDocument()
    await expectAccessible()
    const fetched: (string | null)[] = []
    vi.spyOn(HTMLAnchorElement.prototype, 'click').mockImplementation(function (this: HTMLAnchorElement) {
      fetched.push(this.getAttribute('href'))
    })
    refuse('post', 'me/export/download', 403, 'password_wrong')
    await user.type(screen.getByLabelText('Your password'), 'quiet river water')
    await user.click(screen.getByRole('button', { name: 'Download' }))
    expect(await screen.findByRole('alert')).toHaveTextContent('The password is wrong')
    answer('post', 'me/export/download', { download_url: '/api/v1/me/export/download?token=good' })
    await user.click(screen.getByRole('button', { name: 'Download' }))
    await waitFor(() => expect(fetched).toEqual(['/api/v1/me/export/download?token=good']))
  })

  it('that failed says why and can be asked for again', async () => {
    answer(
      'get',
      'me/export',
      copyOf({ status: 'failed', error: 'In the words of the server', error_code: 'storage_full' }),
    )
    visit('/settings/privacy', 'member')
    const alert = await screen.findByRole('alert')
    expect(alert).toHaveTextContent('no room left')
    expect(alert).not.toHaveTextContent('In the words of the server')
    expect(screen.getByRole('button', { name: 'Ask for a copy' })).toBeInTheDocument()
  })

  it('is not asked for again within the hour', async () => {
    answer('get', 'me/export', { ...ready, again_at: new Date(Date.now() + 3_000_000).toISOString() })
    visit('/settings/privacy', 'member')
    await screen.findByText('Your copy is ready')
    expect(screen.getByText(/You can ask for a new copy after/)).toBeInTheDocument()
    expect(screen.queryByRole('button', { name: /Ask for/ })).toBeNull()
  })

  it('is asked for again when the hour is over, on a page that was left open', async () => {
    answer('get', 'me/export', { ...ready, again_at: new Date(Date.now() - 1000).toISOString() })
    visit('/settings/privacy', 'member')
    expect(await screen.findByRole('button', { name: 'Ask for a new copy' })).toBeInTheDocument()
  })
})

describe('deleting the account', () => {
  it('says what is lost and when, and how to come back', async () => {
    const { user, router } = visit('/settings/privacy', 'member')
    await screen.findByText(/The account is deleted after 14 days/)
    await user.click(screen.getByRole('button', { name: 'Delete my account…' }))
    await user.type(screen.getByLabelText('Your password'), 'quiet river water')
    answer('delete', 'auth/me', { erased_at: '2026-12-05T10:00:00Z' })
    await user.click(screen.getByRole('button', { name: 'Delete my account' }))
    expect(await screen.findByText(/Your account will be deleted on December 5, 2026/)).toBeInTheDocument()
    expect(router.state.location.pathname).toBe('/settings/deleted')
    await waitFor(() => expect(session.current().status).toBe('signed-out'))
    expect(screen.getByRole('link', { name: 'Sign in and keep it' })).toBeInTheDocument()
    await expectAccessible()
  })

  it('is over at once where this Weir allows no time', async () => {
    answer('get', 'me/erasure', { after_days: 0, erased_at: null })
    const { user } = visit('/settings/privacy', 'member')
    await screen.findByText('It happens at once and cannot be undone.')
    await user.click(screen.getByRole('button', { name: 'Delete my account…' }))
    await user.type(screen.getByLabelText('Your password'), 'quiet river water')
    answerBy('delete', 'auth/me', () => new HttpResponse(null, { status: 204 }))
    await user.click(screen.getByRole('button', { name: 'Delete my account' }))
    expect(await screen.findByText('Your account is deleted')).toBeInTheDocument()
  })

  it('is called off by signing in, which says so', async () => {
    answer('post', 'auth/login', { ...signedIn, has_cancelled_erasure: true })
    const { user } = visit('/sign-in')
    await user.type(await screen.findByLabelText('Username'), 'marina')
    await user.type(screen.getByLabelText('Password'), 'quiet river water{Enter}')
    expect(await screen.findByText(/Your account stays/)).toBeInTheDocument()
  })
})

it('sizes are told in the unit that fits', () => {
  expect(formatSize(45_000, 'en')).toBe('45 kB')
  expect(formatSize(1_230_000, 'en')).toBe('1.2 MB')
})
