import { screen, waitFor, within } from '@testing-library/react'
import { HttpResponse } from 'msw'
import { beforeEach, describe, expect, it } from 'vitest'
import { answer, answerBy, refusal, refuse } from '@/test/api'
import { channelOf, liveChannelOf, profile, streamOf } from '@/test/fixtures'
import { expectAccessible, visit } from '@/test/render'
import type { PublicAccount } from './profile-queries'

const avatar = {
  small_url: 'http://weir.test/media/avatars/one/a-64.jpg',
  large_url: 'http://weir.test/media/avatars/one/a-256.jpg',
}
const marina: PublicAccount = {
  id: profile.id,
  username: 'marina',
  display_name: 'Marina of the river',
  bio: 'Locks,\nships.',
  avatar,
  channel_count: 2,
  created_at: '2026-11-02T09:00:00Z',
}

function pictures(): string[] {
  return Array.from(document.querySelectorAll('main img'), (image) => image.getAttribute('src') ?? '')
}

describe('the settings of a profile', () => {
  beforeEach(() => {
    answer('get', 'auth/sessions', { items: [], next_cursor: null })
    answer('get', 'auth/tokens', { items: [], next_cursor: null })
  })

  it('sends what was changed alone, counts characters, and shows what is refused at its field', async () => {
    let sent: unknown
    answerBy('patch', 'me', async (request) => {
      sent = await request.json()
      return HttpResponse.json({ ...profile, bio: 'By the river', version: 1 })
    })
    const { user } = visit('/settings', 'member')
    const bio = await screen.findByLabelText('About you')
    expect(screen.getByText('0 / 500')).toBeInTheDocument()
    await user.type(bio, 'By the river')
    expect(screen.getByText('12 / 500')).toBeInTheDocument()
    await expectAccessible()
    const section = within(bio.closest('form') ?? document.body)
    await user.click(section.getByRole('button', { name: 'Save' }))
    await waitFor(() => expect(sent).toEqual({ bio: 'By the river' }))
    await waitFor(() => expect(section.getByRole('button', { name: 'Save' })).toBeDisabled())

    answerBy('patch', 'me', () =>
      refusal(422, 'validation_failed', {
        errors: [{ pointer: '/display_name', code: 'characters', message: 'no' }],
      }),
    )
    await user.type(screen.getByLabelText('Display name'), 'Marina')
    await user.click(section.getByRole('button', { name: 'Save' }))
    expect(await screen.findByText(/characters in it that cannot be shown/)).toBeInTheDocument()
    expect(screen.getByLabelText('Display name')).toHaveValue('Marina')
  })

  it('does not send what is too long', async () => {
    const { user } = visit('/settings', 'member')
    const name = await screen.findByLabelText('Display name')
    await user.click(name)
    await user.paste('x'.repeat(51))
    await user.tab()
    expect(await screen.findByText('At most 50 characters.')).toBeInTheDocument()
    expect(screen.getByText('51 / 50')).toBeInTheDocument()
  })

  it('uploads a picture, shows it, and takes it away', async () => {
    let kind: string | null = null
    let size = 0
    answerBy('put', 'me/avatar', async (request) => {
      kind = request.headers.get('content-type')
      size = (await request.arrayBuffer()).byteLength
      return HttpResponse.json({ ...profile, avatar, version: 1 })
    })
    answerBy('delete', 'me/avatar', () => HttpResponse.json({ ...profile, version: 2 }))
    const { user } = visit('/settings', 'member')
    const field = await screen.findByLabelText('Choose a picture')
    await user.upload(field, new File(['picture'], 'me.png', { type: 'image/png' }))
    await waitFor(() => expect(pictures()).toContain('/media/avatars/one/a-256.jpg'))
    expect([kind, size]).toEqual(['image/png', 7])
    await expectAccessible()
    await user.click(screen.getByRole('button', { name: 'Remove' }))
    await waitFor(() => expect(pictures()).toEqual([]))
  })

  it('says why a picture was not taken', async () => {
    refuse('put', 'me/avatar', 422, 'picture_damaged')
    const { user } = visit('/settings', 'member')
    const field = await screen.findByLabelText('Choose a picture')
    await user.upload(field, new File(['picture'], 'me.png', { type: 'image/png' }))
    expect(await screen.findByText(/This file is damaged/)).toBeInTheDocument()
    const large = new File([new Uint8Array(8 * 1024 * 1024 + 1)], 'large.png', { type: 'image/png' })
    await user.upload(field, large)
    expect(await screen.findByText(/more than 8 MB/)).toBeInTheDocument()
    expect(screen.queryByText(/This file is damaged/)).toBeNull()
  })
})

describe('the page of an account', () => {
  it('shows who it is, its channels and its streams', async () => {
    answer('get', 'accounts/marina', marina)
    answer('get', 'accounts/marina/channels', {
      items: [liveChannelOf({ handle: 'night' }), channelOf({ handle: 'quiet', title: 'A quiet place' })],
      next_cursor: null,
    })
    answer('get', 'accounts/marina/streams', {
      items: [
        streamOf({ handle: 'night' }),
        streamOf({
          id: 'over',
          title: 'Of yesterday',
          is_live: false,
          ended_at: '2026-11-20T09:00:00Z',
          duration_ms: 3_723_000,
        }),
      ],
      next_cursor: null,
    })
    visit('/accounts/Marina')
    expect(await screen.findByRole('heading', { level: 1, name: 'Marina of the river' })).toBeInTheDocument()
    expect(screen.getByText('Since November 2026')).toBeInTheDocument()
    expect(screen.getByText('2 channels')).toBeInTheDocument()
    expect(screen.getByText(/Locks,/)).toBeInTheDocument()
    expect(pictures()).toContain('/media/avatars/one/a-256.jpg')
    expect(await screen.findByText('A quiet place')).toBeInTheDocument()
    const over = (await screen.findByText('Of yesterday')).closest('a')
    expect(over).toHaveTextContent('1:02:03')
    expect(screen.getAllByText('Live')).toHaveLength(2)
    expect(screen.queryByRole('link', { name: 'Edit profile' })).toBeNull()
    await expectAccessible()
  })

  it('says what is not there yet, and lets its owner edit', async () => {
    answer('get', 'accounts/marina', {
      ...marina,
      display_name: null,
      bio: '',
      avatar: null,
      channel_count: 0,
    })
    answer('get', 'accounts/marina/channels', { items: [], next_cursor: null })
    answer('get', 'accounts/marina/streams', { items: [], next_cursor: null })
    visit('/accounts/marina', 'member')
    expect(await screen.findByRole('heading', { level: 1, name: 'marina' })).toBeInTheDocument()
    expect(await screen.findByText('No channels yet')).toBeInTheDocument()
    expect(await screen.findByText('No streams yet')).toBeInTheDocument()
    expect(screen.getByRole('link', { name: 'Edit profile' })).toHaveAttribute('href', '/settings')
    await expectAccessible()
  })

  it('tells of an account that is not there', async () => {
    refuse('get', 'accounts/nobody', 404, 'not_found')
    visit('/accounts/nobody')
    expect(await screen.findByText('There is no account “nobody”')).toBeInTheDocument()
    await expectAccessible()
  })
})
