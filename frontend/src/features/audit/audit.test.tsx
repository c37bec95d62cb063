import { screen, waitFor, within } from '@testing-library/react'
import { HttpResponse } from 'msw'
import { describe, expect, it } from 'vitest'
import type { Schemas } from '@/api/client'
import { session } from '@/features/accounts/session'
import { answer, answerBy } from '@/test/api'
import { account } from '@/test/fixtures'
import { expectAccessible, visit } from '@/test/render'

function eventOf(changes: Partial<Schemas['SecurityEvent']> = {}): Schemas['SecurityEvent'] {
  return {
    id: changes.kind ?? 'event',
    kind: 'session.opened',
    at: '2026-11-21T08:00:00Z',
    account: { id: account.id, username: 'marina' },
    by: null,
    reason: null,
    count: null,
    channel: null,
    browser: 'Firefox',
    system: 'Linux',
    network: '203.0.113.0/24',
    ...changes,
  }
}

const failed = eventOf({ kind: 'sign_in.failed', reason: 'wrong_code', count: 3, browser: null })

describe('security activity', () => {
  it('says what happened, from where, and goes on page by page', async () => {
    answerBy('get', 'me/security-events', (request) => {
      const after = new URL(request.url).searchParams.get('after')
      return HttpResponse.json(
        after === null
          ? { items: [eventOf(), failed], next_cursor: 'next' }
          : {
              items: [eventOf({ kind: 'something.new', browser: null, system: null, network: null })],
              next_cursor: null,
            },
      )
    })
    const { user } = visit('/settings/activity', 'member')
    const rows = await screen.findAllByRole('listitem')
    const row = rows.find((item) => item.textContent.includes('Signed in'))
    expect(row).toHaveTextContent('Firefox on Linux · 203.0.113.0/24')
    expect(screen.getByText(/A sign-in failed/)).toHaveTextContent('A sign-in failed (3 times)')
    expect(screen.getByText(/If that was not you, change your password/)).toBeInTheDocument()
    await expectAccessible()
    await user.click(screen.getByRole('button', { name: 'Show more' }))
    expect(await screen.findByText('something.new')).toBeInTheDocument()
    await waitFor(() => expect(screen.queryByRole('button', { name: 'Show more' })).toBeNull())
  })

  it('is empty before anything happens', async () => {
    answer('get', 'me/security-events', { items: [], next_cursor: null })
    visit('/settings/activity', 'member')
    expect(await screen.findByText('Nothing has happened yet.')).toBeInTheDocument()
  })
})

describe('the security log', () => {
  it('is for administrators, by account and kind', async () => {
    let asked = new URLSearchParams()
    answerBy('get', 'admin/security-events', (request) => {
      asked = new URL(request.url).searchParams
      return HttpResponse.json({
        items: asked.has('account') ? [] : [failed, eventOf({ by: { id: 'root', username: 'keeper' } })],
        next_cursor: null,
      })
    })
    const { user } = visit('/admin/audit', 'member')
    session.change({ is_administrator: true })
    await screen.findByRole('heading', { name: 'Security log' })
    expect(await screen.findByText(/by keeper/)).toBeInTheDocument()
    expect(screen.getAllByText('marina').length).toBeGreaterThan(0)
    await expectAccessible()
    await user.type(screen.getByLabelText('Account'), ' marina ')
    await user.selectOptions(screen.getByLabelText('What happened'), 'sign_in.failed')
    await user.click(screen.getByRole('button', { name: 'Show' }))
    const empty = await screen.findByText('Nothing of this kind has happened')
    expect(Object.fromEntries(asked)).toEqual({ limit: '50', account: 'marina', kind: 'sign_in.failed' })
    expect(within(document.body).getByText('Look at another account or a longer time.')).toBeInTheDocument()
    await user.click(screen.getByRole('button', { name: 'Show everything' }))
    await waitFor(() => expect(empty).not.toBeInTheDocument())
  })
})
