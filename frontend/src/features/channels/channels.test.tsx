import { act, screen, waitFor, within } from '@testing-library/react'
import { HttpResponse } from 'msw'
import { describe, expect, it, vi } from 'vitest'
import type { PlayerProps } from '@/features/streams/player/player'
import { answer, answerBy, keepWaiting, refusal, refuse } from '@/test/api'
import { channelOf, liveChannelOf, liveIngest, streamOf, waiting } from '@/test/fixtures'
import { expectAccessible, visit } from '@/test/render'

let playing: PlayerProps | null = null
vi.mock('@/features/streams/player/player', () => ({
  Player: (props: PlayerProps) => {
    playing = props
    return <div role="region" aria-label={props.label} data-testid="player" data-src={props.src} />
  },
}))

describe('creating a channel', () => {
  it('shows the address while it is typed, and opens the dashboard', async () => {
    let key: string | null = null
    answerBy('post', 'channels', (request) => {
      key = request.headers.get('idempotency-key')
      return HttpResponse.json(channelOf({ handle: 'night_river' }), { status: 201 })
    })
    answer('get', 'channels/night_river', channelOf({ handle: 'night_river' }))
    answer('get', 'channels/night_river/ingest', waiting)
    answer('get', 'channels/night_river/stream-key', {
      stream_key: 'live_x',
      rtmp_url: 'rtmp://weir.test/live',
      rtmps_url: null,
    })
    const { user, router } = visit('/new-channel', 'member')
    await user.type(await screen.findByLabelText('Address'), 'Night_River')
    expect(screen.getByText('night_river', { selector: 'p span' })).toBeInTheDocument()
    await user.type(screen.getByLabelText('Title'), 'Night shift on the river')
    await expectAccessible()
    await user.click(screen.getByRole('button', { name: 'Create the channel' }))
    await waitFor(() => expect(router.state.location.pathname).toBe('/dashboard/night_river'))
    expect(key).toMatch(/^[0-9a-f]{32}$/)
  })

  it('says at the field that the address is taken', async () => {
    refuse('post', 'channels', 409, 'handle_taken')
    const { user } = visit('/new-channel', 'member')
    await user.type(await screen.findByLabelText('Address'), 'marina')
    await user.type(screen.getByLabelText('Title'), 'x')
    await user.click(screen.getByRole('button', { name: 'Create the channel' }))
    expect(await screen.findByText('This address is taken. Choose another.')).toBeInTheDocument()
  })
})

describe('own channels', () => {
  it('has its four states', async () => {
    keepWaiting('get', 'channels')
    const first = visit('/dashboard', 'member')
    expect(await screen.findByRole('status', { name: 'Loading your channels' })).toBeInTheDocument()
    first.unmount()

    refuse('get', 'channels', 500, 'internal')
    const second = visit('/dashboard', 'member')
    expect(await screen.findByText('This could not be loaded')).toBeInTheDocument()
    second.unmount()

    answer('get', 'channels', { items: [], next_cursor: null })
    const third = visit('/dashboard', 'member')
    expect(await screen.findByText('You have no channel yet')).toBeInTheDocument()
    await expectAccessible()
    third.unmount()

    answer('get', 'channels', {
      items: [liveChannelOf(), channelOf({ handle: 'second' })],
      next_cursor: null,
    })
    visit('/dashboard', 'member')
    expect(await screen.findByRole('link', { name: /second/ })).toHaveAttribute('href', '/dashboard/second')
    await expectAccessible()
  })
})

describe('dashboard', () => {
  function serve(ingest: object, channel = channelOf()) {
    answer('get', 'channels/marina', channel)
    answer('get', 'channels/marina/ingest', { ...waiting, ...ingest })
    answer('get', 'channels/marina/stream-key', {
      stream_key: 'live_secret',
      rtmp_url: 'rtmp://weir.test/live',
      rtmps_url: null,
    })
  }

  it('shows server and key, the key hidden until asked for', async () => {
    serve({})
    const { user } = visit('/dashboard/marina', 'member')
    const key = await screen.findByLabelText('Stream key')
    expect(key).toHaveAttribute('type', 'password')
    expect(screen.getByLabelText('Server')).toHaveValue('rtmp://weir.test/live')
    expect(screen.getByTestId('ingest-state')).toHaveAttribute('data-state', 'waiting')
    await expectAccessible()
    await user.click(screen.getByRole('button', { name: 'Show' }))
    expect(key).toHaveAttribute('type', 'text')
    expect(key).toHaveValue('live_secret')
  })

  it('tells the last refusal and what to do', async () => {
    serve({ last_refusal: { code: 'key_unknown', message: 'unknown key', at: new Date().toISOString() } })
    visit('/dashboard/marina', 'member')
    expect(await screen.findByText('An encoder was turned away')).toBeInTheDocument()
    expect(screen.getByText(/Copy it from here again/)).toBeInTheDocument()
  })

  it('tells how long the stream waits for its encoder, and why that is gone', async () => {
    const lost = {
      state: 'reconnecting',
      stream_id: 'stream-of-marina',
      waits_ms: 3_541_200,
      last_refusal: { code: 'video_stopped', message: 'No picture.', at: new Date().toISOString() },
    }
    serve(lost, liveChannelOf({ reconnect_grace_seconds: 3600 }))
    visit('/dashboard/marina', 'member')
    // It runs, and on a slow machine may have for a while when it is read.
    expect(await screen.findByRole('timer')).toHaveTextContent(/Time left: 0:5[89]:\d\d/)
    expect(screen.getByText(/^The encoder is gone/)).toHaveAttribute('role', 'status')
    expect(screen.getByText(/No picture came for 8 s/)).toBeInTheDocument()
    await waitFor(() => expect(playing?.waitsSeconds).toBe(3600))
    // Of an encoder that is not there, nothing is measured.
    expect(screen.queryByText('Bit rate', { selector: 'dt *' })).not.toBeInTheDocument()
    await expectAccessible()
    answer('get', 'channels/marina/ingest', {
      ...waiting,
      ...lost,
      connected_since: new Date().toISOString(),
      waits_ms: null,
      last_refusal: null,
    })
    expect(await screen.findByText(/^The encoder is back/)).toBeInTheDocument()
    expect(screen.queryByRole('timer')).not.toBeInTheDocument()
  })

  it('shows figures, advice and the picture while live', async () => {
    serve(
      { ...liveIngest, advice: [{ code: 'something_new', message: 'Lower the bit rate.' }] },
      liveChannelOf(),
    )
    visit('/dashboard/marina', 'member')
    expect(await screen.findByTestId('player')).toHaveAttribute(
      'data-src',
      '/live/channels/channel-of-marina/index.m3u8',
    )
    // It comes by a call of its own.
    expect(await screen.findByText('1920 × 1080')).toBeInTheDocument()
    expect(screen.getByText('4,512')).toBeInTheDocument()
    expect(screen.getByText('Lower the bit rate.')).toBeInTheDocument()
    expect(screen.getByText('Viewers see you.')).toBeInTheDocument()
    await expectAccessible()
  })

  it('makes a new key only after saying what that does', async () => {
    serve({})
    answer('post', 'channels/marina/stream-key/rotate', {
      stream_key: 'live_new',
      rtmp_url: 'rtmp://weir.test/live',
      rtmps_url: null,
    })
    const { user } = visit('/dashboard/marina', 'member')
    await user.click(await screen.findByRole('button', { name: 'New key' }))
    const question = await screen.findByRole('dialog', { name: 'Make a new stream key?' })
    expect(within(question).getByText('If you are live, the stream is cut.')).toBeInTheDocument()
    await user.click(within(question).getByRole('button', { name: 'Make a new key' }))
    await waitFor(() => expect(screen.getByLabelText('Stream key')).toHaveValue('live_new'))
  })

  it('saves an edit with the version it began from, and settles a conflict', async () => {
    serve({})
    const versions: (string | null)[] = []
    answerBy('patch', 'channels/marina', async (request) => {
      versions.push(request.headers.get('if-match'))
      if (versions.length === 1) {
        answer('get', 'channels/marina', channelOf({ title: 'Theirs', version: 7 }))
        return refusal(412, 'version_stale')
      }
      return HttpResponse.json(channelOf({ ...((await request.json()) as object), version: 8 }))
    })
    const { user } = visit('/dashboard/marina', 'member')
    const title = (await screen.findAllByLabelText('Title'))[0] as HTMLInputElement
    const form = title.closest('form') as HTMLElement
    await user.clear(title)
    await user.type(title, 'Mine')
    await user.click(within(form).getByRole('button', { name: 'Save' }))
    expect(await within(form).findByText(/now “Theirs”/)).toBeInTheDocument()
    await user.click(within(form).getByRole('button', { name: 'Save mine over it' }))
    await waitFor(() => expect(versions).toEqual(['"3"', '"7"']))
    expect(title).toHaveValue('Mine')
    await waitFor(() => expect(within(form).queryByText(/now “Theirs”/)).not.toBeInTheDocument())
  })

  it('changes who may watch, and says what each choice means', async () => {
    serve({}, channelOf({ visibility: 'unlisted' }))
    let body: unknown = null
    answerBy('patch', 'channels/marina', async (request) => {
      body = await request.json()
      answer('get', 'channels/marina', channelOf({ visibility: 'private', version: 4 }))
      return HttpResponse.json(channelOf({ visibility: 'private', version: 4 }))
    })
    const { user } = visit('/dashboard/marina', 'member')
    const group = await screen.findByRole('group', { name: 'Who may watch' })
    expect(within(group).getByRole('radio', { name: /Unlisted/ })).toBeChecked()
    await expectAccessible()
    await user.click(
      within(group).getByRole('radio', {
        name: /Only you, your team, administrators and those whom you invite can watch/,
      }),
    )
    await waitFor(() => expect(body).toEqual({ visibility: 'private' }))
    await waitFor(() => expect(within(group).getByRole('radio', { name: /Private/ })).toBeChecked())
  })

  it('keeps the choice of before when it cannot be saved', async () => {
    serve({})
    refuse('patch', 'channels/marina', 503, 'unavailable')
    const { user } = visit('/dashboard/marina', 'member')
    const group = await screen.findByRole('group', { name: 'Who may watch' })
    await user.click(within(group).getByRole('radio', { name: /Private/ }))
    expect(await within(group).findByText(/Weir cannot do this at the moment/)).toBeInTheDocument()
    expect(within(group).getByRole('radio', { name: /Public/ })).toBeChecked()
  })

  it('is not for others', async () => {
    serve(
      {},
      channelOf({ owner: { id: 'somebody-else', username: 'oksana', display_name: null, avatar: null } }),
    )
    visit('/dashboard/marina', 'member')
    expect(await screen.findByText('This dashboard belongs to oksana')).toBeInTheDocument()
  })
})

describe('the channel page', () => {
  it('plays what is live', async () => {
    answer('get', 'channels/marina', liveChannelOf())
    answer('get', 'streams/stream-of-marina', streamOf())
    visit('/marina')
    expect(await screen.findByTestId('player')).toHaveAttribute(
      'data-src',
      '/live/channels/channel-of-marina/index.m3u8',
    )
    expect(screen.getByRole('heading', { level: 1 })).toHaveTextContent('Night shift on the river')
    await expectAccessible()
  })

  it('keeps the address of a private channel until it is refused', async () => {
    const at = (token: string) =>
      liveChannelOf({
        visibility: 'private',
        playback: {
          hls_url: `http://weir.test/live/t/${token}/channels/channel-of-marina/index.m3u8`,
          dash_url: null,
        },
      })
    const src = (token: string) => `/live/t/${token}/channels/channel-of-marina/index.m3u8`
    answer('get', 'channels/marina', at('one'))
    answer('get', 'streams/stream-of-marina', streamOf())
    const { queryClient } = visit('/marina', 'member')
    expect(await screen.findByTestId('player')).toHaveAttribute('data-src', src('one'))
    expect(screen.getByText('Private')).toBeInTheDocument()
    act(() => playing?.onState?.('playing'))
    answer('get', 'channels/marina', at('two'))
    await act(() => queryClient.invalidateQueries())
    expect(screen.getByTestId('player')).toHaveAttribute('data-src', src('one'))
    act(() => playing?.onState?.('denied'))
    await waitFor(() => expect(screen.getByTestId('player')).toHaveAttribute('data-src', src('two')))
  })

  it('takes the handle in any case', async () => {
    answer('get', 'channels/marina', channelOf())
    visit('/MaRiNa')
    expect(
      await screen.findByRole('heading', { level: 1, name: 'Night shift on the river' }),
    ).toBeInTheDocument()
  })

  it('says since when it is offline, and starts by itself', async () => {
    answer('get', 'channels/marina', channelOf())
    answer('get', 'streams', {
      items: [streamOf({ is_live: false, ended_at: new Date(Date.now() - 3.5 * 3_600_000).toISOString() })],
      next_cursor: null,
    })
    visit('/marina')
    const stage = await screen.findByTestId('offline-stage')
    await within(stage).findByText('3 hours ago')
    await expectAccessible()
    answer('get', 'channels/marina', liveChannelOf())
    answer('get', 'streams/stream-of-marina', streamOf())
    expect(await screen.findByTestId('player')).toBeInTheDocument()
  })

  it('keeps showing what is buffered after the server says that it ended', async () => {
    answer('get', 'channels/marina', liveChannelOf())
    answer('get', 'streams/stream-of-marina', streamOf())
    const { queryClient } = visit('/marina')
    await screen.findByTestId('player')
    act(() => playing?.onState?.('playing'))
    answer('get', 'channels/marina', channelOf())
    await act(() => queryClient.invalidateQueries())
    expect(screen.getByTestId('player')).toBeInTheDocument()
    act(() => playing?.onState?.('ended'))
    expect(await screen.findByTestId('offline-stage')).toBeInTheDocument()
  })

  it('has a place for loading, failure and an unknown handle', async () => {
    keepWaiting('get', 'channels/marina')
    const first = visit('/marina')
    expect(await screen.findByRole('status', { name: 'Loading the channel' })).toBeInTheDocument()
    first.unmount()

    refuse('get', 'channels/marina', 500, 'internal')
    const second = visit('/marina')
    expect(await screen.findByText('This could not be loaded')).toBeInTheDocument()
    second.unmount()

    refuse('get', 'channels/nobody', 404, 'not_found')
    visit('/nobody')
    expect(await screen.findByText('There is no channel “nobody”')).toBeInTheDocument()
    await expectAccessible()
  })
})

it('has a page for addresses that lead nowhere', async () => {
  visit('/no/such/page')
  expect(await screen.findByText('Nothing flows here')).toBeInTheDocument()
  await expectAccessible()
})
