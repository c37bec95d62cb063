import { screen, waitFor } from '@testing-library/react'
import { HttpResponse } from 'msw'
import { beforeEach, describe, expect, it } from 'vitest'
import { answer, answerBy, refusal, refuse } from '@/test/api'
import { account, signedIn } from '@/test/fixtures'
import { expectAccessible, visit } from '@/test/render'
import { session } from './session'

const unconfirmed = { ...account, is_email_confirmed: false }
const mailed = { expires_at: '2026-11-22T08:00:00Z', again_at: new Date(Date.now() + 40_000).toISOString() }

beforeEach(() => {
  sessionStorage.clear()
  answer('get', 'auth/sessions', { items: [], next_cursor: null })
  answer('get', 'auth/tokens', { items: [], next_cursor: null })
})

/** Visits as somebody whose address is not confirmed. */
function visitUnconfirmed(path: string) {
  const view = visit(path, 'member')
  session.begin({ ...signedIn, account: unconfirmed })
  return view
}

describe('a lost password', () => {
  it('is replaced by a mailed code, which is asked for first', async () => {
    let asked: unknown
    answerBy('post', 'auth/password/reset', async (request) => {
      asked = await request.json()
      return new HttpResponse(null, { status: 204 })
    })
    const { user, router } = visit('/sign-in')
    await user.click(await screen.findByRole('link', { name: 'Forgot your password?' }))
    await user.type(await screen.findByLabelText('Username or e-mail'), 'marina')
    await expectAccessible()
    await user.click(screen.getByRole('button', { name: 'Mail me a code' }))
    expect(await screen.findByText('Look at your mail')).toBeInTheDocument()
    expect(asked).toEqual({ account: 'marina' })
    await expectAccessible()

    refuse('put', 'auth/password/reset', 403, 'mail_code_wrong')
    await user.type(screen.getByLabelText('Code from the mail'), 'aaaa-aaaa')
    await user.type(screen.getByLabelText('New password'), 'quiet river water')
    await user.click(screen.getByRole('button', { name: 'Change password' }))
    expect(await screen.findByRole('alert')).toHaveTextContent('Look at the last mail')
    let sent: unknown
    answerBy('put', 'auth/password/reset', async (request) => {
      sent = await request.json()
      return new HttpResponse(null, { status: 204 })
    })
    await user.click(screen.getByRole('button', { name: 'Change password' }))
    await waitFor(() => expect(router.state.location.pathname).toBe('/sign-in'))
    expect(sent).toEqual({ account: 'marina', code: 'aaaa-aaaa', new_password: 'quiet river water' })
  })

  it('takes the code of a link, and one of the authenticator where there is one', async () => {
    refuse('put', 'auth/password/reset', 403, 'second_factor_required')
    const { user, router } = visit('/reset-password#k7qm-2f9x')
    expect(await screen.findByLabelText('Code from the mail')).toHaveValue('k7qm-2f9x')
    await user.type(screen.getByLabelText('Username or e-mail'), 'marina')
    await user.type(screen.getByLabelText('New password'), 'quiet river water{Enter}')
    const factor = await screen.findByLabelText('Code of your authenticator')
    expect(screen.queryByRole('alert')).toBeNull()
    let sent: unknown
    answerBy('put', 'auth/password/reset', async (request) => {
      sent = await request.json()
      return new HttpResponse(null, { status: 204 })
    })
    await user.type(factor, '123456{Enter}')
    await waitFor(() => expect(router.state.location.pathname).toBe('/sign-in'))
    expect(sent).toMatchObject({ code: 'k7qm-2f9x', second_factor_code: '123456' })
  })
})

describe('an address', () => {
  it('is confirmed by the code of a link', async () => {
    answer('put', 'auth/email/confirmation', account)
    const { user } = visitUnconfirmed('/confirm-email#k7qm-2f9x')
    expect(await screen.findByLabelText('Code from the mail')).toHaveValue('k7qm-2f9x')
    await expectAccessible()
    await user.click(screen.getByRole('button', { name: 'Confirm' }))
    expect(await screen.findByText('Your address is confirmed')).toBeInTheDocument()
    expect(session.current()).toMatchObject({ account: { is_email_confirmed: true } })
  })

  it('keeps the code while one signs in', async () => {
    answer('post', 'auth/login', { ...signedIn, account: unconfirmed })
    const { user, router } = visit('/confirm-email#k7qm-2f9x')
    const links = await screen.findAllByRole('link', { name: 'Sign in' })
    await user.click(links[links.length - 1] ?? document.body)
    await user.type(await screen.findByLabelText('Username'), 'marina')
    await user.type(screen.getByLabelText('Password'), 'quiet river water{Enter}')
    await waitFor(() => expect(router.state.location.pathname).toBe('/confirm-email'))
    expect(await screen.findByLabelText('Code from the mail')).toHaveValue('k7qm-2f9x')
  })

  it('gets another code, once in a while', async () => {
    answer('post', 'auth/email/confirmation', mailed)
    const { user } = visitUnconfirmed('/settings')
    await user.click(await screen.findByRole('button', { name: 'Send another code' }))
    const waiting = await screen.findByRole('button', { name: /^Another code in \d+ s$/ })
    expect(waiting).toBeDisabled()
    refuse('put', 'auth/email/confirmation', 403, 'mail_code_wrong')
    await user.type(screen.getByLabelText('Code from the mail'), 'aaaa-aaaa')
    await user.click(screen.getByRole('button', { name: 'Confirm' }))
    expect(await screen.findByRole('alert')).toHaveTextContent('Look at the last mail')
    await expectAccessible()
  })

  it('reminds where one works until it is confirmed or told not now', async () => {
    const { user } = visitUnconfirmed('/dashboard')
    expect(await screen.findByRole('link', { name: 'Enter the code' })).toBeInTheDocument()
    await user.click(screen.getByRole('button', { name: 'Not now' }))
    expect(screen.queryByRole('link', { name: 'Enter the code' })).toBeNull()
  })

  it('is changed by codes from both sides, and a wrong one is shown at its field', async () => {
    let asked: unknown
    answerBy('post', 'auth/email/change', async (request) => {
      asked = await request.json()
      return HttpResponse.json({ ...mailed, needs_present_code: true })
    })
    const { user } = visit('/settings', 'member')
    await user.click(await screen.findByRole('button', { name: 'Change address' }))
    await user.type(screen.getByLabelText('New e-mail address'), 'marina@example.net')
    await user.type(screen.getByLabelText('Your password'), 'quiet river water')
    await expectAccessible()
    await user.click(screen.getByRole('button', { name: 'Go on' }))
    await user.type(await screen.findByLabelText('Code from the new address'), 'aaaa-aaaa')
    await user.type(screen.getByLabelText('Code from the present address'), 'bbbb-bbbb')
    expect(asked).toEqual({ password: 'quiet river water', email: 'marina@example.net', language: 'en' })
    answerBy('put', 'auth/email/change', () =>
      refusal(403, 'mail_code_wrong', {
        errors: [{ pointer: '/present_code', code: 'mail_code_wrong', message: 'wrong' }],
      }),
    )
    await user.click(screen.getByRole('button', { name: 'Change address' }))
    expect(await screen.findByText(/Look at the last mail/)).toBeInTheDocument()
    expect(screen.getByLabelText('Code from the present address')).toHaveAttribute('aria-invalid', 'true')
    await expectAccessible()
    answer('put', 'auth/email/change', { ...account, email: 'marina@example.net' })
    await user.click(screen.getByRole('button', { name: 'Change address' }))
    await waitFor(() => expect(session.current()).toMatchObject({ account: { email: 'marina@example.net' } }))
  })
})
