import { screen, waitFor, within } from '@testing-library/react'
import { HttpResponse } from 'msw'
import { describe, expect, it } from 'vitest'
import { answer, answerBy, keepWaiting, refuse } from '@/test/api'
import { channelOf, streamOf } from '@/test/fixtures'
import { expectAccessible, visit } from '@/test/render'

describe('home', () => {
  it('holds the places of the cards while they are on their way', async () => {
    keepWaiting('get', 'streams')
    keepWaiting('get', 'channels')
    visit('/')
    expect(await screen.findByRole('status', { name: 'Loading what is live' })).toBeInTheDocument()
    await expectAccessible()
  })

  it('offers the one next step when nobody is live', async () => {
    visit('/')
    expect(await screen.findByText('Nobody is live right now')).toBeInTheDocument()
    expect(screen.getByRole('link', { name: 'Make an account' })).toHaveAttribute('href', '/register')
    await expectAccessible()
  })

  it('sends a member to the dashboard instead', async () => {
    visit('/', 'member')
    expect(await screen.findByRole('link', { name: 'Go live' })).toHaveAttribute('href', '/dashboard')
  })

  it('shows live streams first, then the channels that are offline', async () => {
    answer('get', 'streams', {
      items: [streamOf(), streamOf({ handle: 'oksana', title: 'Painting a wall' })],
      next_cursor: null,
    })
    answer('get', 'channels', {
      items: [channelOf({ handle: 'pavel', title: 'Chess on Sundays' })],
      next_cursor: null,
    })
    visit('/')
    await screen.findByRole('link', { name: 'Painting a wall' })
    const cards = screen.getAllByRole('article')
    expect(cards).toHaveLength(2)
    for (const card of cards) expect(within(card).getByText('Live')).toBeInTheDocument()
    expect(screen.getByText('2 streams')).toBeInTheDocument()
    const offline = await screen.findByRole('link', { name: /Chess on Sundays/ })
    expect(offline).toHaveTextContent('Offline')
    await expectAccessible()
  })

  it('gives the only live stream the room of a grid', async () => {
    answer('get', 'streams', { items: [streamOf()], next_cursor: null })
    visit('/')
    expect(
      await screen.findByRole('heading', { level: 2, name: 'Night shift on the river' }),
    ).toBeInTheDocument()
    expect(screen.getByText('1 stream')).toBeInTheDocument()
  })

  it('goes on to the next page by its cursor', async () => {
    answerBy('get', 'streams', (request) => {
      const after = new URL(request.url).searchParams.get('after')
      return after === 'next'
        ? HttpResponse.json({ items: [streamOf({ handle: 'second' })], next_cursor: null })
        : HttpResponse.json({ items: [streamOf({ handle: 'first' })], next_cursor: 'next' })
    })
    const { user } = visit('/')
    await user.click(await screen.findByRole('button', { name: 'Show more' }))
    expect(await screen.findByText('second')).toBeInTheDocument()
    expect(screen.queryByRole('button', { name: 'Show more' })).not.toBeInTheDocument()
  })

  it('says what failed, and tries again when asked', async () => {
    refuse('get', 'streams', 500, 'internal')
    const { user } = visit('/')
    expect(await screen.findByText(/went wrong inside Weir/)).toBeInTheDocument()
    expect(screen.getByText('Request req-7f3a')).toBeInTheDocument()
    await expectAccessible()
    answer('get', 'streams', { items: [streamOf()], next_cursor: null })
    await user.click(screen.getByRole('button', { name: 'Try again' }))
    await waitFor(() =>
      expect(screen.getByRole('link', { name: 'Night shift on the river' })).toBeInTheDocument(),
    )
  })
})
