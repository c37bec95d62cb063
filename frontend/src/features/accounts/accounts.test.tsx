import { screen, waitFor } from '@testing-library/react'
import { HttpResponse } from 'msw'
import { describe, expect, it } from 'vitest'
import { answer, answerBy, refuse } from '@/test/api'
import { account, signedIn } from '@/test/fixtures'
import { expectAccessible, visit } from '@/test/render'
import { session } from './session'

async function fillRegistration(user: ReturnType<typeof visit>['user']) {
  await user.type(await screen.findByLabelText('Username'), 'Marina')
  await user.type(screen.getByLabelText('E-mail'), 'marina@example.org')
  await user.type(screen.getByLabelText('Password'), 'quiet river water')
}

describe('registration', () => {
  it('makes an account, signs in and goes on to the first channel', async () => {
    let sent: unknown
    answerBy('post', 'auth/register', async (request) => {
      sent = await request.json()
      return HttpResponse.json(signedIn, { status: 201 })
    })
    const { user, router } = visit('/register')
    await fillRegistration(user)
    await expectAccessible()
    await user.click(screen.getByRole('button', { name: 'Register' }))
    await waitFor(() => expect(router.state.location.pathname).toBe('/new-channel'))
    expect(sent).toEqual({
      username: 'Marina',
      email: 'marina@example.org',
      password: 'quiet river water',
      language: 'en',
    })
    expect(session.current()).toEqual({ status: 'signed-in', account })
  })

  it('says what is missing before asking the server', async () => {
    const { user } = visit('/register')
    await user.type(await screen.findByLabelText('Username'), 'a b')
    await user.click(screen.getByRole('button', { name: 'Register' }))
    expect(await screen.findByText('Only the letters a–z, digits and _ can be used.')).toBeInTheDocument()
    expect(screen.getByLabelText('Username')).toHaveAttribute('aria-invalid', 'true')
    expect(screen.getAllByText('Fill this in.')).toHaveLength(2)
    await expectAccessible()
  })

  it('puts a refusal at its field: by code, and by pointer', async () => {
    refuse('post', 'auth/register', 409, 'username_taken')
    const { user } = visit('/register')
    await fillRegistration(user)
    await user.click(screen.getByRole('button', { name: 'Register' }))
    expect(await screen.findByText('This username is taken. Choose another.')).toBeInTheDocument()
    expect(screen.getByLabelText('Username')).toHaveFocus()

    refuse('post', 'auth/register', 422, 'validation_failed', {
      errors: [{ pointer: '/password', code: 'too_common', message: 'in a list' }],
    })
    await user.click(screen.getByRole('button', { name: 'Register' }))
    expect(await screen.findByText(/lists that attackers try first/)).toBeInTheDocument()
  })

  it('takes the set-up token from the address and says what it means', async () => {
    let sent: unknown
    answerBy('post', 'auth/register', async (request) => {
      sent = await request.json()
      return HttpResponse.json(signedIn, { status: 201 })
    })
    const { user, router } = visit('/register#setup_token=12345')
    expect(await screen.findByText('This account becomes the administrator')).toBeInTheDocument()
    expect(screen.getByLabelText('Set-up token')).toHaveValue('12345')
    await fillRegistration(user)
    await user.click(screen.getByRole('button', { name: 'Register' }))
    await waitFor(() => expect(router.state.location.pathname).toBe('/new-channel'))
    expect(sent).toMatchObject({ setup_token: '12345' })
  })

  it('reveals the field for the token to those who have one', async () => {
    refuse('post', 'auth/register', 403, 'setup_token_invalid')
    const { user } = visit('/register')
    await user.click(await screen.findByRole('button', { name: 'I have a set-up token' }))
    await user.type(screen.getByLabelText('Set-up token'), 'wrong')
    await fillRegistration(user)
    await user.click(screen.getByRole('button', { name: 'Register' }))
    expect(await screen.findByText(/set-up token is wrong or has been used/)).toBeInTheDocument()
  })
})

describe('sign-in', () => {
  it('goes back to where one wanted to go', async () => {
    answer('post', 'auth/login', signedIn)
    const { user, router } = visit('/dashboard')
    await user.type(await screen.findByLabelText('Username'), 'marina')
    expect(router.state.location.search).toEqual({ next: '/dashboard' })
    await user.type(screen.getByLabelText('Password'), 'quiet river water')
    await expectAccessible()
    await user.click(screen.getByRole('button', { name: 'Sign in' }))
    await waitFor(() => expect(router.state.location.pathname).toBe('/dashboard'))
  })

  it('does not follow an address of another origin', async () => {
    answer('post', 'auth/login', signedIn)
    const { user, router } = visit('/sign-in?next=//elsewhere.example')
    await user.type(await screen.findByLabelText('Username'), 'marina')
    await user.type(screen.getByLabelText('Password'), 'quiet river water{Enter}')
    await waitFor(() => expect(router.state.location.pathname).toBe('/dashboard'))
  })

  it('says that name or password is wrong', async () => {
    refuse('post', 'auth/login', 401, 'credentials_wrong')
    const { user } = visit('/sign-in')
    await user.type(await screen.findByLabelText('Username'), 'marina')
    await user.type(screen.getByLabelText('Password'), 'nonsense{Enter}')
    expect(await screen.findByRole('alert')).toHaveTextContent('Username or password is wrong.')
    expect(screen.getByLabelText('Password')).toHaveFocus()
  })
})

describe('the account menu', () => {
  it('signs out', async () => {
    let isToldToEnd = false
    answerBy('post', 'auth/logout', () => {
      isToldToEnd = true
      return new HttpResponse(null, { status: 204 })
    })
    const { user } = visit('/', 'member')
    await user.click(await screen.findByRole('button', { name: 'Account marina' }))
    await user.click(await screen.findByRole('menuitem', { name: 'Sign out' }))
    expect(await screen.findByRole('link', { name: 'Sign in' })).toBeInTheDocument()
    expect(isToldToEnd).toBe(true)
  })
})
