import { act, screen, waitFor, within } from '@testing-library/react'
import { HttpResponse } from 'msw'
import { describe, expect, it, vi } from 'vitest'
import { answer, answerBy, refusal } from '@/test/api'
import { channelOf, waiting } from '@/test/fixtures'
import { expectAccessible, visit } from '@/test/render'

vi.mock('@/features/streams/player/player', () => ({ Player: () => null }))

const key = { rtmp_url: 'rtmp://weir.test/live', rtmps_url: null }

/** A server for which the session was proved, or was not. */
function serve(start: { isProved: boolean }) {
  const state = {
    ...start,
    isFull: false,
    proofs: [] as unknown[],
    keysAsked: 0,
    held: Promise.resolve(),
  }
  const needed = () => refusal(403, 'reauthentication_required')
  answer('get', 'channels/marina', channelOf())
  answer('get', 'channels/marina/ingest', waiting)
  answerBy('get', 'channels/marina/stream-key', async () => {
    state.keysAsked += 1
    await state.held
    return state.isProved ? HttpResponse.json({ ...key, stream_key: 'live_secret' }) : needed()
  })
  answerBy('post', 'channels/marina/stream-key/rotate', () => {
    if (!state.isProved) return needed()
    return state.isFull ? refusal(503, 'overloaded') : HttpResponse.json({ ...key, stream_key: 'live_new' })
  })
  answerBy('post', 'auth/session/proof', async (request) => {
    const proof = (await request.json()) as { password: string }
    state.proofs.push(proof)
    if (proof.password !== 'quiet river water') return refusal(403, 'password_wrong')
    state.isProved = true
    return new HttpResponse(null, { status: 204 })
  })
  return state
}

describe('the stream key', () => {
  it('is shown again for the password, once signing in was a while ago', async () => {
    const state = serve({ isProved: false })
    const { user } = visit('/dashboard/marina', 'member')
    const show = await screen.findByRole('button', { name: 'Show the stream key' })
    expect(screen.getByText(/You signed in a while ago/)).toBeInTheDocument()
    await expectAccessible()
    await user.click(show)
    expect(screen.getByText('Fill this in.')).toBeInTheDocument()
    await user.type(screen.getByLabelText('Your password'), 'not this one')
    await user.click(show)
    expect(await screen.findByText('The password is wrong. Nothing was changed.')).toBeInTheDocument()
    await user.clear(screen.getByLabelText('Your password'))
    await user.type(screen.getByLabelText('Your password'), 'quiet river water{Enter}')
    expect(await screen.findByLabelText('Stream key')).toHaveValue('live_secret')
    expect(screen.getByLabelText('Stream key')).toHaveFocus()
    expect(state.proofs).toHaveLength(2)
  })

  it('keeps the password that is being typed while one looks elsewhere', async () => {
    const state = serve({ isProved: false })
    const { user, queryClient } = visit('/dashboard/marina', 'member')
    await user.type(await screen.findByLabelText('Your password'), 'quiet river')
    const shown = vi.spyOn(document, 'visibilityState', 'get')
    for (const visibility of ['hidden', 'visible'] as const) {
      shown.mockReturnValue(visibility)
      act(() => void document.dispatchEvent(new Event('visibilitychange', { bubbles: true })))
    }
    shown.mockRestore()
    const asked = { queryKey: ['get', '/api/v1/channels/{handle}/stream-key'] }
    expect(queryClient.isFetching(asked)).toBe(0)
    // Nor does it go when something else asks for the key once more.
    let release: () => void = () => undefined
    state.held = new Promise((resolve) => (release = resolve))
    const again = queryClient.refetchQueries(asked)
    await waitFor(() => expect(state.keysAsked).toBe(2))
    expect(screen.getByLabelText('Your password')).toHaveValue('quiet river')
    release()
    await again
    expect(screen.getByLabelText('Your password')).toHaveValue('quiet river')
  })

  it('takes the password to be replaced on a page that was open for long', async () => {
    const state = serve({ isProved: true })
    const { user } = visit('/dashboard/marina', 'member')
    await user.click(await screen.findByRole('button', { name: 'New key' }))
    state.isProved = false
    const question = await screen.findByRole('dialog', { name: 'Make a new stream key?' })
    await user.click(within(question).getByRole('button', { name: 'Make a new key' }))
    const password = await within(question).findByLabelText('Your password')
    await waitFor(() => expect(password).toHaveFocus())
    await user.type(password, 'quiet river water')
    await expectAccessible(question)
    await user.click(within(question).getByRole('button', { name: 'Make a new key' }))
    await waitFor(() => expect(screen.getByLabelText('Stream key')).toHaveValue('live_new'))
    expect(state.proofs).toEqual([{ password: 'quiet river water' }])
  })

  it('takes a proof once, even if the key could not be replaced then', async () => {
    const state = serve({ isProved: true })
    const { user } = visit('/dashboard/marina', 'member')
    await user.click(await screen.findByRole('button', { name: 'New key' }))
    state.isProved = false
    state.isFull = true
    const question = await screen.findByRole('dialog', { name: 'Make a new stream key?' })
    const replace = within(question).getByRole('button', { name: 'Make a new key' })
    await user.click(replace)
    await user.type(await within(question).findByLabelText('Your password'), 'quiet river water')
    await user.click(replace)
    await within(question).findByRole('alert')
    expect(within(question).queryByLabelText('Your password')).not.toBeInTheDocument()
    state.isFull = false
    await user.click(replace)
    await waitFor(() => expect(screen.getByLabelText('Stream key')).toHaveValue('live_new'))
    expect(state.proofs).toHaveLength(1)
  })
})
