import { screen, waitFor, within } from '@testing-library/react'
import { HttpResponse } from 'msw'
import { describe, expect, it, vi } from 'vitest'
import type { Schemas } from '@/api/client'
import { session } from '@/features/accounts/session'
import { answer, answerBy, refuse } from '@/test/api'
import { account, channelOf, liveChannelOf, recordingOf, signedIn, streamOf } from '@/test/fixtures'
import { expectAccessible, visit } from '@/test/render'

// Neither plays without a browser.
vi.mock('@/features/streams/player/player', () => ({ Player: () => null }))
vi.mock('@/features/recordings/recording-player', () => ({ RecordingPlayer: () => null }))

const other = { id: 'somebody-else', username: 'noor', display_name: null, avatar: null }

function queuedOf(changes: Partial<Schemas['QueuedReport']> = {}): Schemas['QueuedReport'] {
  return {
    id: 'first-report',
    target: {
      kind: 'recording',
      id: 'a-video',
      handle: 'river',
      title: 'Night shift',
      owner: { id: 'owner', username: 'noor' },
    },
    is_owner_suspended: false,
    reporter: { id: 'reporter', username: 'mira' },
    kind: 'copyright',
    text: 'This is my film',
    at_ms: 754_000,
    state: 'open',
    action: null,
    answer: null,
    decided_by: null,
    created_at: '2026-11-21T10:00:00Z',
    decided_at: null,
    ...changes,
  }
}

function asAdministrator(path: string) {
  const view = visit(path, 'member')
  session.begin({ ...signedIn, account: { ...account, is_administrator: true } })
  return view
}

describe('reporting', () => {
  it('reports what is on, in the words of who reports', async () => {
    let sent: unknown
    answer('get', 'channels/river', liveChannelOf({ handle: 'river', owner: other }))
    answer('get', 'streams/stream-of-river', streamOf({ handle: 'river' }))
    answerBy('post', 'reports', async (request) => {
      sent = await request.json()
      return HttpResponse.json({}, { status: 201 })
    })
    const { user } = visit('/river', 'member')
    await user.click(await screen.findByRole('button', { name: 'Report' }))
    const dialog = await screen.findByRole('dialog')
    await user.click(within(dialog).getByRole('button', { name: 'Send the report' }))
    expect(within(dialog).getByText('Choose one.')).toBeInTheDocument()
    expect(within(dialog).getByText('Fill this in.')).toBeInTheDocument()
    await user.click(within(dialog).getByRole('radio', { name: 'It breaks the rules' }))
    await user.type(within(dialog).getByLabelText('What should they know?'), 'Not for children')
    await expectAccessible(dialog)
    await user.click(within(dialog).getByRole('button', { name: 'Send the report' }))
    await waitFor(() => expect(screen.queryByRole('dialog')).not.toBeInTheDocument())
    expect(sent).toEqual({
      target_kind: 'stream',
      target_id: 'stream-of-river',
      kind: 'rules',
      text: 'Not for children',
    })
  })

  it('says where in a video it is, and that it was reported before', async () => {
    let sent: unknown
    localStorage.setItem('weir.watched', JSON.stringify([['first', 300]]))
    answer('get', 'channels/marina', channelOf({ owner: other }))
    answer('get', 'recordings/first', recordingOf())
    answerBy('post', 'reports', async (request) => {
      sent = await request.json()
      return HttpResponse.json(
        { type: 'about:blank', title: '', status: 409, code: 'already_reported' },
        { status: 409, headers: { 'content-type': 'application/problem+json' } },
      )
    })
    const { user } = visit('/marina/videos/first', 'member')
    await user.click(await screen.findByRole('button', { name: 'Report' }))
    const dialog = await screen.findByRole('dialog')
    expect(within(dialog).getByRole('checkbox', { name: /5:00/ })).toBeChecked()
    await user.click(within(dialog).getByRole('radio', { name: 'It is somebody else’s work' }))
    await user.type(within(dialog).getByLabelText('What should they know?'), 'My film')
    await user.click(within(dialog).getByRole('button', { name: 'Send the report' }))
    expect(await within(dialog).findByRole('alert')).toHaveTextContent('You have reported this already')
    expect(sent).toMatchObject({ target_kind: 'recording', target_id: 'first', at_ms: 300_000 })
    localStorage.removeItem('weir.watched')
  })

  it('asks whoever is signed out to sign in, and nobody to report themselves', async () => {
    answer('get', 'channels/river', channelOf({ handle: 'river', owner: other }))
    visit('/river')
    const link = await screen.findByRole('link', { name: 'Report' })
    expect(link).toHaveAttribute('href', '/sign-in?next=%2Friver')
  })

  it('shows what came of one’s own', async () => {
    answer('get', 'me/reports', {
      items: [
        {
          id: 'first-report',
          target: queuedOf().target,
          kind: 'copyright',
          text: 'This is my film',
          at_ms: null,
          state: 'upheld',
          answer: 'Thank you. It is gone.',
          created_at: '2026-11-21T10:00:00Z',
          decided_at: '2026-11-21T11:00:00Z',
        },
      ],
      next_cursor: null,
    })
    answer('get', 'auth/sessions', { items: [], next_cursor: null })
    answer('get', 'auth/tokens', { items: [], next_cursor: null })
    visit('/settings', 'member')
    expect(await screen.findByText('Thank you. It is gone.')).toBeInTheDocument()
    expect(screen.getByText('The report was right')).toBeInTheDocument()
    expect(screen.getByRole('link', { name: 'Night shift' })).toHaveAttribute('href', '/river/videos/a-video')
  })

  it('says so where what one has reported is not open to one any more', async () => {
    answer('get', 'me/reports', {
      items: [
        {
          id: 'first-report',
          target: { ...queuedOf().target, handle: null, title: null },
          kind: 'rules',
          text: 'Not for children',
          at_ms: null,
          state: 'open',
          answer: null,
          created_at: '2026-11-21T10:00:00Z',
          decided_at: null,
        },
      ],
      next_cursor: null,
    })
    answer('get', 'auth/sessions', { items: [], next_cursor: null })
    answer('get', 'auth/tokens', { items: [], next_cursor: null })
    visit('/settings', 'member')
    expect(await screen.findByText('It is gone, or not open to you any more.')).toBeInTheDocument()
    expect(screen.getByText('Not for children')).toBeInTheDocument()
    expect(screen.queryByRole('link', { name: /night shift|river/i })).not.toBeInTheDocument()
  })
})

describe('the queue', () => {
  it('is decided by taking something down', async () => {
    let sent: unknown
    answerBy('get', 'admin/reports', (request) => {
      const isOpen = new URL(request.url).searchParams.get('state') === 'open'
      const items = isOpen && sent === undefined ? [queuedOf()] : []
      return HttpResponse.json({ items, next_cursor: null })
    })
    answerBy('put', 'admin/reports/first-report/decision', async (request) => {
      sent = await request.json()
      return HttpResponse.json(queuedOf({ state: 'upheld', action: 'take_down' }))
    })
    const { user } = asAdministrator('/admin/reports')
    expect(await screen.findByText('This is my film')).toBeInTheDocument()
    expect(screen.getByRole('link', { name: 'Night shift' })).toHaveAttribute('href', '/river/videos/a-video')
    await user.click(screen.getByRole('button', { name: 'Decide' }))
    await user.click(screen.getByRole('radio', { name: /Take it down/ }))
    await user.type(screen.getByLabelText('Answer to who reported'), 'Thank you')
    await expectAccessible()
    await user.click(screen.getByRole('button', { name: 'Decide' }))
    expect(await screen.findByText('Nothing to decide')).toBeInTheDocument()
    expect(sent).toEqual({ verdict: 'upheld', action: 'take_down', answer: 'Thank you' })
  })

  it('takes a reason for a suspension, and takes no channel down', async () => {
    let sent: { until?: string } = {}
    const target: Schemas['ReportedThing'] = { ...queuedOf().target, kind: 'channel', title: 'The river' }
    answer('get', 'admin/reports', { items: [queuedOf({ target })], next_cursor: null })
    answerBy('put', 'admin/reports/first-report/decision', async (request) => {
      sent = (await request.json()) as { until?: string }
      return HttpResponse.json(queuedOf({ target, state: 'upheld', action: 'suspend_account' }))
    })
    const { user } = asAdministrator('/admin/reports')
    await user.click(await screen.findByRole('button', { name: 'Decide' }))
    expect(screen.queryByRole('radio', { name: /Take it down/ })).not.toBeInTheDocument()
    await user.click(screen.getByRole('radio', { name: /Suspend the account/ }))
    await user.click(screen.getByRole('button', { name: 'Decide' }))
    expect(screen.getByText('Fill this in.')).toBeInTheDocument()
    await user.type(screen.getByLabelText('Why?'), 'Two warnings')
    await user.selectOptions(screen.getByLabelText('For how long?'), '30')
    await user.click(screen.getByRole('button', { name: 'Decide' }))
    await waitFor(() => expect(sent).toMatchObject({ action: 'suspend_account', reason: 'Two warnings' }))
    const days = (Date.parse(sent.until ?? '') - Date.now()) / 86_400_000
    expect(Math.round(days)).toBe(30)
  })
})

describe('accounts', () => {
  const suspended: Schemas['AdministeredAccount'] = {
    id: 'noors-account',
    username: 'noor',
    is_administrator: false,
    has_second_factor: false,
    channel_count: 2,
    created_at: '2026-11-02T09:00:00Z',
    suspension: { reason: 'Two warnings', until: null, suspended_at: '2026-11-21T10:00:00Z', by: 'keeper' },
  }

  it('are suspended and let in again', async () => {
    let isHeld = true
    let sent: unknown
    answerBy('get', 'admin/accounts', () =>
      HttpResponse.json({
        items: [{ ...suspended, suspension: isHeld ? suspended.suspension : null }],
        next_cursor: null,
      }),
    )
    answerBy('delete', 'admin/accounts/noors-account/suspension', () => {
      isHeld = false
      return HttpResponse.json({ ...suspended, suspension: null })
    })
    answerBy('put', 'admin/accounts/noors-account/suspension', async (request) => {
      sent = await request.json()
      isHeld = true
      return HttpResponse.json(suspended)
    })
    const { user } = asAdministrator('/admin/accounts')
    expect(await screen.findByText('Two warnings')).toBeInTheDocument()
    await expectAccessible()
    await user.click(screen.getByRole('button', { name: 'Reinstate noor' }))
    await user.click(await screen.findByRole('button', { name: 'Suspend noor' }))
    const dialog = await screen.findByRole('dialog')
    await user.type(within(dialog).getByLabelText('Why?'), 'Again')
    await user.selectOptions(within(dialog).getByLabelText('For how long?'), '')
    await user.click(within(dialog).getByRole('button', { name: 'Suspend' }))
    expect(await screen.findByRole('button', { name: 'Reinstate noor' })).toBeInTheDocument()
    expect(sent).toEqual({ reason: 'Again' })
  })
})

describe('a suspended person', () => {
  it('is told why and until when', async () => {
    refuse('post', 'auth/login', 403, 'account_suspended', {
      suspension: { reason: 'Somebody else’s films', until: null },
    })
    const { user } = visit('/sign-in')
    await user.type(await screen.findByLabelText('Username'), 'marina')
    await user.type(screen.getByLabelText('Password'), 'quiet river water{Enter}')
    const alert = await screen.findByRole('alert')
    expect(alert).toHaveTextContent('Your account is suspended.')
    expect(alert).toHaveTextContent('Somebody else’s films')
    expect(alert).toHaveTextContent('until an administrator lifts it')
    await expectAccessible()
  })
})
