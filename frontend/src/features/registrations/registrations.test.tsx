import { screen, waitFor, within } from '@testing-library/react'
import { HttpResponse } from 'msw'
import { beforeEach, describe, expect, it } from 'vitest'
import { session } from '@/features/accounts/session'
import { answer, answerBy, refuse } from '@/test/api'
import { account, signedIn } from '@/test/fixtures'
import { expectAccessible, visit } from '@/test/render'
import type { RegistrationInvite } from './queries'

const invite: RegistrationInvite = {
  id: 'one',
  max_uses: 5,
  uses: 2,
  created_at: '2026-11-21T10:00:00Z',
  expires_at: null,
}

function visitAsAdministrator(path: string) {
  const view = visit(path, 'member')
  session.begin({ ...signedIn, account: { ...account, is_administrator: true } })
  return view
}

describe('the administration', () => {
  beforeEach(() => answer('get', 'admin/registration-invites', { items: [] }))

  it('is for administrators alone', async () => {
    visit('/admin', 'member')
    expect(await screen.findByText('Only administrators get in here')).toBeInTheDocument()
    await expectAccessible()
  })

  it('lists its places', async () => {
    visitAsAdministrator('/admin')
    const nav = await screen.findByRole('navigation', { name: 'Administration' })
    expect(within(nav).getByRole('link', { name: 'Registration' })).toHaveAttribute(
      'href',
      '/admin/registration',
    )
    await expectAccessible()
  })

  it('says who may register', async () => {
    let said: unknown = null
    answerBy('patch', 'admin/settings', async (request) => {
      said = await request.json()
      return HttpResponse.json({ registration: 'closed' })
    })
    const { user } = visitAsAdministrator('/admin/registration')
    expect(await screen.findByRole('radio', { name: /Open/ })).toBeChecked()
    await expectAccessible()
    await user.click(screen.getByRole('radio', { name: /Closed/ }))
    await waitFor(() => expect(screen.getByRole('radio', { name: /Closed/ })).toBeChecked())
    expect(said).toEqual({ registration: 'closed' })
  })

  it('shows an invite that is used up as such', async () => {
    answer('get', 'admin/registration-invites', { items: [{ ...invite, uses: 5 }] })
    visitAsAdministrator('/admin/registration')
    expect(await screen.findByText(/5 of 5 accounts made · Used up\./)).toBeInTheDocument()
    expect(screen.getByRole('button', { name: /^Take back the invite/ })).toBeEnabled()
  })

  it('makes an invite, shows its link once, and takes it back', async () => {
    answer('get', 'registration', { mode: 'invite' })
    let said: unknown = null
    answerBy('post', 'admin/registration-invites', async (request) => {
      said = await request.json()
      answer('get', 'admin/registration-invites', { items: [invite] })
      return HttpResponse.json({ invite, url: 'http://weir.test/register#AZNa' }, { status: 201 })
    })
    answerBy('delete', 'admin/registration-invites/one', () => {
      answer('get', 'admin/registration-invites', { items: [] })
      return new HttpResponse(null, { status: 204 })
    })
    const { user } = visitAsAdministrator('/admin/registration')
    expect(await screen.findByText('No invites yet.')).toBeInTheDocument()
    const count = screen.getByLabelText('For how many accounts')
    await user.clear(count)
    await user.type(count, '5')
    await user.click(screen.getByRole('button', { name: 'Make an invite' }))
    expect(await screen.findByTestId('registration-invite')).toHaveValue('http://weir.test/register#AZNa')
    expect(said).toEqual({ max_uses: 5, days: 7 })
    expect(await screen.findByText(/2 of 5 accounts made/)).toBeInTheDocument()
    await expectAccessible()
    await user.click(screen.getByRole('button', { name: /^Take back the invite/ }))
    const question = await screen.findByRole('dialog')
    await user.click(within(question).getByRole('button', { name: 'Take it back' }))
    expect(await screen.findByText('No invites yet.')).toBeInTheDocument()
    expect(screen.queryByTestId('registration-invite')).toBeNull()
  })
})

describe('registering', () => {
  it('says that nobody can, but lets the set-up token in', async () => {
    answer('get', 'registration', { mode: 'closed' })
    const { user } = visit('/register')
    expect(await screen.findByText('Registration is closed')).toBeInTheDocument()
    expect(screen.queryByLabelText('Username')).toBeNull()
    await expectAccessible()
    await user.click(screen.getByRole('button', { name: 'I have a set-up token' }))
    expect(await screen.findByLabelText('Set-up token')).toBeInTheDocument()
  })

  it('asks for an invite, and sends the one in the address', async () => {
    answer('get', 'registration', { mode: 'invite' })
    const first = visit('/register')
    expect(await screen.findByText('An account takes an invite here')).toBeInTheDocument()
    first.unmount()
    let said: unknown = null
    answerBy('post', 'auth/register', async (request) => {
      said = await request.json()
      return HttpResponse.json(signedIn, { status: 201 })
    })
    const { user } = visit('/register#AZNaPHxefMGbHi8a')
    expect(await screen.findByText('You are invited')).toBeInTheDocument()
    await user.type(screen.getByLabelText('Username'), 'noor')
    await user.type(screen.getByLabelText('E-mail'), 'noor@example.org')
    await user.type(screen.getByLabelText('Password'), 'a river runs uphill')
    await user.click(screen.getByRole('button', { name: 'Register' }))
    await waitFor(() => expect(said).toMatchObject({ username: 'noor', invite: 'AZNaPHxefMGbHi8a' }))
  })

  it('says when the invite is not good', async () => {
    answer('get', 'registration', { mode: 'invite' })
    refuse('post', 'auth/register', 403, 'registration_invite_invalid')
    const { user } = visit('/register#used')
    await user.type(await screen.findByLabelText('Username'), 'noor')
    await user.type(screen.getByLabelText('E-mail'), 'noor@example.org')
    await user.type(screen.getByLabelText('Password'), 'a river runs uphill')
    await user.click(screen.getByRole('button', { name: 'Register' }))
    expect(await screen.findByText(/This invite is not good any more/)).toBeInTheDocument()
  })
})
