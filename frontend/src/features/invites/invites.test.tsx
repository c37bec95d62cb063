import { screen, waitFor, within } from '@testing-library/react'
import { HttpResponse } from 'msw'
import { describe, expect, it, vi } from 'vitest'
import { answer, answerBy, refuse } from '@/test/api'
import { channelOf, recordingSettingsOf, waiting } from '@/test/fixtures'
import { expectAccessible, visit } from '@/test/render'
import type { Invite, InvitedChannel } from './queries'

vi.mock('@/features/streams/player/player', () => ({
  Player: (props: { src: string; label: string }) => (
    <div role="region" aria-label={props.label} data-src={props.src} />
  ),
}))

const url = 'http://weir.test/invite#AZNaPHxefMGbHi8a'

function inviteOf(changes: Partial<Invite> = {}): Invite {
  return { id: 'one', url, created_at: '2026-11-21T10:00:00Z', expires_at: null, ...changes }
}

function invitedTo(changes: Partial<InvitedChannel> = {}): InvitedChannel {
  return {
    channel: { id: 'channel', handle: 'marina', title: 'Night shift' },
    description: 'Only for friends.',
    is_live: true,
    hls_url: 'http://weir.test/live/t/token/channels/channel/index.m3u8',
    dash_url: 'http://weir.test/live/t/token/channels/channel/index.mpd',
    expires_at: '2026-11-21T22:00:00Z',
    ...changes,
  }
}

describe('an invite', () => {
  it('lets its bearer watch, without an account', async () => {
    let said: unknown = null
    answerBy('post', 'invites/use', async (request) => {
      said = await request.json()
      return HttpResponse.json(invitedTo())
    })
    visit('/invite#AZNaPHxefMGbHi8a')
    const player = await screen.findByRole('region', { name: 'Player: Night shift' })
    expect(player).toHaveAttribute('data-src', expect.stringContaining('/live/t/token/'))
    expect(said).toEqual({ invite: 'AZNaPHxefMGbHi8a' })
    expect(screen.getByText('Only for friends.')).toBeInTheDocument()
    await expectAccessible()
  })

  it('waits for the stream, and says when it lets nobody in', async () => {
    answer('post', 'invites/use', invitedTo({ is_live: false }))
    const first = visit('/invite#AZNaPHxefMGbHi8a')
    expect(await screen.findByText(/You are invited/)).toBeInTheDocument()
    first.unmount()
    refuse('post', 'invites/use', 404, 'invite_not_good')
    visit('/invite#other')
    expect(await screen.findByText('This invite lets nobody in')).toBeInTheDocument()
    await expectAccessible()
  })
})

describe('the owner of a channel', () => {
  function serve(...items: Invite[]) {
    answer('get', 'channels/marina', channelOf({ visibility: 'private' }))
    answer('get', 'channels/marina/ingest', waiting)
    answer('get', 'channels/marina/stream-key', {
      stream_key: 'live_x',
      rtmp_url: 'rtmp://weir.test/live',
      rtmps_url: null,
    })
    answer('get', 'channels/marina/recording-settings', recordingSettingsOf(false))
    answer('get', 'channels/marina/invites', { items })
  }

  it('makes an invite and takes it back', async () => {
    serve()
    let said: unknown = null
    answerBy('post', 'channels/marina/invites', async (request) => {
      said = await request.json()
      answer('get', 'channels/marina/invites', { items: [inviteOf()] })
      return HttpResponse.json(inviteOf(), { status: 201 })
    })
    let revoked = ''
    answerBy('delete', 'channels/marina/invites/one', (request) => {
      revoked = request.url
      answer('get', 'channels/marina/invites', { items: [] })
      return new HttpResponse(null, { status: 204 })
    })
    const { user } = visit('/dashboard/marina', 'member')
    expect(await screen.findByText('No invites yet.')).toBeInTheDocument()
    await user.selectOptions(screen.getByRole('combobox', { name: 'How long it is good' }), 'A day')
    await user.click(screen.getByRole('button', { name: 'Make an invite' }))
    expect(await screen.findByLabelText(/^Invite of/)).toHaveValue(url)
    expect(said).toEqual({ days: 1 })
    expect(screen.getByText('Good until you take it back.')).toBeInTheDocument()
    await user.click(screen.getByRole('button', { name: /^Take back the invite/ }))
    const question = await screen.findByRole('dialog')
    await user.click(within(question).getByRole('button', { name: 'Take it back' }))
    expect(await screen.findByText('No invites yet.')).toBeInTheDocument()
    await waitFor(() => expect(revoked).toContain('/invites/one'))
  })
})
