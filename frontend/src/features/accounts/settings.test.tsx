import { screen, waitFor, within } from '@testing-library/react'
import { HttpResponse } from 'msw'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import type { Schemas } from '@/api/client'
import { activateLanguage } from '@/app/languages'
import { answer, answerBy, refusal, refuse } from '@/test/api'
import { account, signedIn } from '@/test/fixtures'
import { expectAccessible, visit } from '@/test/render'
import { session } from './session'

const here: Schemas['Session'] = {
  id: 'here',
  is_current: true,
  browser: 'Firefox',
  system: 'Linux',
  network: '203.0.113.0/24',
  opened_at: '2026-11-20T08:00:00Z',
  last_used_at: '2026-11-21T08:00:00Z',
}
const phone: Schemas['Session'] = { ...here, id: 'phone', is_current: false, browser: null, system: 'iPhone' }
const token: Schemas['PersonalToken'] = {
  id: 'one',
  name: 'Schedule',
  scopes: ['read'],
  expires_at: '2027-02-19T08:00:00Z',
  created_at: '2026-11-21T08:00:00Z',
  last_used_at: null,
}

beforeEach(() => {
  answer('get', 'auth/sessions', { items: [here, phone], next_cursor: null })
  answer('get', 'auth/tokens', { items: [token], next_cursor: null })
})

describe('where one is signed in', () => {
  it('tells devices apart and signs one out', async () => {
    let ended = ''
    answerBy('delete', 'auth/sessions/:id', (request) => {
      ended = new URL(request.url).pathname
      answer('get', 'auth/sessions', { items: [here], next_cursor: null })
      return new HttpResponse(null, { status: 204 })
    })
    const { user } = visit('/settings', 'member')
    await screen.findByText('Firefox on Linux')
    const row = screen.getAllByRole('listitem').find((item) => item.textContent.includes('Firefox on Linux'))
    if (row === undefined) throw new Error('this device is not in the list')
    expect(within(row).getByText('This device')).toBeInTheDocument()
    expect(within(row).queryByRole('button')).toBeNull()
    await expectAccessible()
    await user.click(screen.getByRole('button', { name: 'Sign out iPhone' }))
    await waitFor(() => expect(screen.queryByText('iPhone')).toBeNull())
    expect(ended).toBe('/api/v1/auth/sessions/phone')
  })

  it.each(['uk', 'ru', 'fr'] as const)(
    'has buttons that are called what stands on them, in %s',
    async (language) => {
      await activateLanguage(language)
      onTestFinished(() => activateLanguage('en'))
      visit('/settings', 'member')
      expect(await screen.findByRole('button', { name: /iPhone/ })).toBeInTheDocument()
      expect(await screen.findByRole('button', { name: /Schedule/ })).toBeInTheDocument()
      await expectAccessible()
    },
  )
})

describe('the password', () => {
  it('is changed with the present one, and a refused one says why at its field', async () => {
    let sent: unknown
    answerBy('put', 'auth/password', async (request) => {
      sent = await request.json()
      return refusal(422, 'validation_failed', {
        errors: [{ pointer: '/new_password', code: 'too_common', message: 'in a list' }],
      })
    })
    const { user } = visit('/settings', 'member')
    await user.type(await screen.findByLabelText('Present password'), 'quiet river water')
    await user.type(screen.getByLabelText('New password'), 'password123')
    await user.click(screen.getByRole('button', { name: 'Change password' }))
    expect(await screen.findByText(/lists that attackers try first/)).toBeInTheDocument()
    expect(sent).toEqual({
      password: 'quiet river water',
      new_password: 'password123',
      end_other_sessions: true,
    })
    answerBy('put', 'auth/password', () => new HttpResponse(null, { status: 204 }))
    await user.type(screen.getByLabelText('New password'), ' and more')
    await user.click(screen.getByRole('button', { name: 'Change password' }))
    await waitFor(() => expect(screen.getByLabelText('Present password')).toHaveValue(''))
  })
})

describe('personal tokens', () => {
  it('are made with the password, shown once, and revoked', async () => {
    let sent: unknown
    answerBy('post', 'auth/tokens', async (request) => {
      sent = await request.json()
      return HttpResponse.json({ personal_token: token, token: 'weir_secret' }, { status: 201 })
    })
    const { user } = visit('/settings', 'member')
    await user.click(await screen.findByRole('button', { name: 'Make a token' }))
    await user.type(screen.getByLabelText('What is it for?'), 'A bot')
    await user.click(screen.getByLabelText('Create and edit channels and videos'))
    await user.type(screen.getByLabelText('Your password'), 'quiet river water')
    await expectAccessible()
    await user.click(screen.getByRole('button', { name: 'Make the token' }))
    expect(await screen.findByTestId('personal-token')).toHaveValue('weir_secret')
    expect(sent).toEqual({
      name: 'A bot',
      scopes: ['read', 'channels:write'],
      expires_in_days: 90,
      password: 'quiet river water',
    })
    answerBy('delete', 'auth/tokens/:id', () => {
      answer('get', 'auth/tokens', { items: [], next_cursor: null })
      return new HttpResponse(null, { status: 204 })
    })
    await user.click(screen.getByRole('button', { name: 'Revoke Schedule' }))
    expect(await screen.findByText('You have no tokens.')).toBeInTheDocument()
  })
})

describe('the second factor', () => {
  it('is set up with a QR code and shows its recovery codes', async () => {
    answer('post', 'auth/second-factor', {
      id: 'seed',
      secret: 'GEZDGNBV',
      uri: 'otpauth://x',
      qr_svg: '<svg/>',
    })
    answerBy('put', 'auth/second-factor', () => refusal(403, 'code_wrong'))
    const { user } = visit('/settings', 'member')
    await user.click(await screen.findByRole('button', { name: 'Set up' }))
    await user.type(screen.getByLabelText('Your password'), 'quiet river water')
    await user.click(screen.getByRole('button', { name: 'Go on' }))
    expect(await screen.findByRole('img', { name: 'QR code for your authenticator' })).toBeInTheDocument()
    await expectAccessible()
    await user.type(screen.getByLabelText('Code of your authenticator'), '000000')
    await user.click(screen.getByRole('button', { name: 'Turn on' }))
    expect(await screen.findByRole('alert')).toHaveTextContent('This code is wrong')
    answer('put', 'auth/second-factor', { codes: ['aaaaa-bbbbb', 'ccccc-ddddd'] })
    await user.click(screen.getByRole('button', { name: 'Turn on' }))
    expect(await screen.findByText('aaaaa-bbbbb')).toBeInTheDocument()
    expect(session.current()).toEqual({
      status: 'signed-in',
      account: { ...account, has_second_factor: true },
    })
    await expectAccessible()
  })

  it('is asked for at sign-in, beside the password', async () => {
    refuse('post', 'auth/login', 401, 'second_factor_required')
    const { user, router } = visit('/sign-in')
    await user.type(await screen.findByLabelText('Username'), 'marina')
    await user.type(screen.getByLabelText('Password'), 'quiet river water{Enter}')
    const code = await screen.findByLabelText('Code of your authenticator')
    expect(code).toHaveFocus()
    expect(screen.queryByRole('alert')).toBeNull()
    let sent: unknown
    answerBy('post', 'auth/login', async (request) => {
      sent = await request.json()
      return HttpResponse.json(signedIn)
    })
    await user.type(code, '123 456{Enter}')
    await waitFor(() => expect(router.state.location.pathname).toBe('/dashboard'))
    expect(sent).toEqual({ username: 'marina', password: 'quiet river water', code: '123 456' })
  })
})
