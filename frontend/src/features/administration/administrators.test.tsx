import { screen, waitFor, within } from '@testing-library/react'
import { HttpResponse } from 'msw'
import { describe, expect, it } from 'vitest'
import type { Schemas } from '@/api/client'
import { session } from '@/features/accounts/session'
import { answer, answerBy, refuse } from '@/test/api'
import { account, signedIn } from '@/test/fixtures'
import { expectAccessible, visit } from '@/test/render'

function administered(changes: Partial<Schemas['AdministeredAccount']> = {}): Schemas['AdministeredAccount'] {
  return {
    id: 'noors-account',
    username: 'noor',
    is_administrator: false,
    has_second_factor: false,
    channel_count: 2,
    created_at: '2026-11-02T09:00:00Z',
    suspension: null,
    ...changes,
  }
}

function asAdministrator() {
  const view = visit('/admin/accounts', 'member')
  session.begin({ ...signedIn, account: { ...account, is_administrator: true } })
  return view
}

describe('administrators', () => {
  it('are made and unmade with the password', async () => {
    let isAdministrator = false
    const sent: unknown[] = []
    answerBy('get', 'admin/accounts', () =>
      HttpResponse.json({ items: [administered({ is_administrator: isAdministrator })], next_cursor: null }),
    )
    for (const method of ['put', 'delete'] as const) {
      answerBy(method, 'admin/accounts/noors-account/administrator', async (request) => {
        sent.push(method, await request.json())
        isAdministrator = method === 'put'
        return HttpResponse.json(administered({ is_administrator: isAdministrator }))
      })
    }
    const { user } = asAdministrator()
    await user.click(await screen.findByRole('button', { name: 'Make administrator: noor' }))
    const making = await screen.findByRole('dialog', { name: 'Make noor an administrator?' })
    await user.click(within(making).getByRole('button', { name: 'Make administrator' }))
    expect(within(making).getByText('Fill this in.')).toBeInTheDocument()
    await expectAccessible(making)
    await user.type(within(making).getByLabelText('Your password'), 'quiet river water')
    await user.click(within(making).getByRole('button', { name: 'Make administrator' }))

    const take = { name: 'Take the right: noor' }
    await user.click(await screen.findByRole('button', take))
    const taking = await screen.findByRole('dialog')
    expect(taking).toHaveTextContent('They are signed out everywhere')
    await user.type(within(taking).getByLabelText('Your password'), 'quiet river water')
    await user.click(within(taking).getByRole('button', { name: 'Take the right' }))
    expect(await screen.findByRole('button', { name: 'Make administrator: noor' })).toBeInTheDocument()
    const proof = { password: 'quiet river water' }
    await waitFor(() => expect(sent).toEqual(['put', proof, 'delete', proof]))
  })

  it('cannot all go, and the page says so', async () => {
    const own = administered({ id: account.id, username: account.username, is_administrator: true })
    answer('get', 'admin/accounts', { items: [own], next_cursor: null })
    refuse('delete', `admin/accounts/${account.id}/administrator`, 409, 'last_administrator')
    const { user } = asAdministrator()
    const name = `Take the right: ${account.username}`
    await user.click(await screen.findByRole('button', { name }))
    const dialog = await screen.findByRole('dialog')
    expect(dialog).toHaveTextContent('You are signed out everywhere')
    await user.type(within(dialog).getByLabelText('Your password'), 'quiet river water')
    await user.click(within(dialog).getByRole('button', { name: 'Take the right' }))
    expect(await within(dialog).findByRole('alert')).toHaveTextContent(
      'Nobody could administer this Weir any more.',
    )
  })

  it('are not made of who is suspended', async () => {
    const suspension = {
      reason: 'Two warnings',
      until: null,
      suspended_at: '2026-11-21T10:00:00Z',
      by: 'keeper',
    }
    answer('get', 'admin/accounts', { items: [administered({ suspension })], next_cursor: null })
    asAdministrator()
    expect(await screen.findByRole('button', { name: 'Reinstate noor' })).toBeInTheDocument()
    expect(screen.queryByRole('button', { name: 'Make administrator: noor' })).not.toBeInTheDocument()
  })
})
