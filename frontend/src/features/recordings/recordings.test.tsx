import { screen, waitFor, within } from '@testing-library/react'
import { HttpResponse } from 'msw'
import { describe, expect, it, vi } from 'vitest'
import { answer, answerBy, keepWaiting, refuse } from '@/test/api'
import { channelOf, recordingOf, recordingSettingsOf, waiting } from '@/test/fixtures'
import { expectAccessible, visit } from '@/test/render'
import type { Recording } from './queries'

vi.mock('@/features/streams/player/player', () => ({ Player: () => null }))
vi.mock('./recording-player', () => ({
  RecordingPlayer: (props: {
    src: string
    label: string
    sheet: string | null
    onRefused?: (src: string) => Promise<boolean>
  }) => (
    <div role="region" aria-label={props.label} data-src={props.src} data-sheet={props.sheet}>
      <button type="button" onClick={() => void props.onRefused?.(props.src)}>
        Refuse
      </button>
    </div>
  ),
}))

const listed = (...items: Recording[]) => ({ items, next_cursor: null })
describe('the videos of a channel', () => {
  it('have their four states', async () => {
    keepWaiting('get', 'channels/marina/recordings')
    const first = visit('/marina/videos')
    expect(await screen.findByRole('status', { name: 'Loading videos' })).toBeInTheDocument()
    first.unmount()

    refuse('get', 'channels/marina/recordings', 500, 'internal')
    const second = visit('/marina/videos')
    expect(await screen.findByText('This could not be loaded')).toBeInTheDocument()
    second.unmount()

    answer('get', 'channels/marina/recordings', listed())
    const third = visit('/marina/videos')
    expect(await screen.findByText('No videos yet')).toBeInTheDocument()
    await expectAccessible()
    third.unmount()

    answer(
      'get',
      'channels/marina/recordings',
      listed(recordingOf(), recordingOf({ id: 'hidden', visibility: 'archived' })),
    )
    visit('/marina/videos')
    expect(await screen.findByRole('link', { name: 'Night shift on the river' })).toHaveAttribute(
      'href',
      '/marina/videos/first',
    )
    expect(screen.getByText('12:34')).toBeInTheDocument()
    expect(screen.getAllByRole('article')).toHaveLength(1)
    await expectAccessible()
  })
})

describe('a video', () => {
  it('plays, with pictures for the seek bar', async () => {
    answer('get', 'recordings/first', recordingOf())
    answer('get', 'channels/marina', channelOf())
    visit('/marina/videos/first')
    const player = await screen.findByRole('region', { name: 'Player: Night shift on the river' })
    expect(player).toHaveAttribute('data-src', '/vod/first/index.m3u8')
    expect(player).toHaveAttribute('data-sheet', '/vod/first/sheets/index.vtt')
    expect(screen.queryByRole('button', { name: 'Download' })).not.toBeInTheDocument()
    await expectAccessible()
  })

  it('says that it is not ready, or not there', async () => {
    answer('get', 'channels/marina', channelOf())
    answer('get', 'recordings/first', recordingOf({ status: 'recording', playback: null, duration_ms: null }))
    const first = visit('/marina/videos/first')
    expect(await screen.findByText('This stream is being recorded')).toBeInTheDocument()
    first.unmount()
    refuse('get', 'recordings/gone', 404, 'not_found')
    visit('/marina/videos/gone')
    expect(await screen.findByText('This video is not here')).toBeInTheDocument()
    await expectAccessible()
  })

  it('plays on by another address where the one of before is refused', async () => {
    const at = (token: string) => ({
      hls_url: `http://weir.test/vod/t/${token}/first/index.m3u8`,
      dash_url: null,
    })
    answer('get', 'channels/marina', channelOf())
    answer('get', 'recordings/first', recordingOf({ playback: at('before') }))
    const { user } = visit('/marina/videos/first')
    const player = await screen.findByRole('region', { name: /^Player/ })
    expect(player).toHaveAttribute('data-src', '/vod/t/before/first/index.m3u8')
    answer('get', 'recordings/first', recordingOf({ playback: at('after') }))
    await user.click(within(player).getByRole('button', { name: 'Refuse' }))
    await waitFor(() => expect(player).toHaveAttribute('data-src', '/vod/t/after/first/index.m3u8'))
  })

  it('tells its owner what went wrong, and nobody else', async () => {
    answer('get', 'recordings/first', recordingOf({ cut_short: 'storage_full' }))
    answer('get', 'channels/marina', channelOf())
    const first = visit('/marina/videos/first')
    await screen.findByRole('region', { name: /^Player/ })
    expect(screen.queryByText(/no room left/)).not.toBeInTheDocument()
    first.unmount()
    visit('/marina/videos/first', 'member')
    expect(await screen.findByText(/no room left/)).toBeInTheDocument()
  })
})

describe('the owner', () => {
  function serve(...items: Recording[]) {
    answer('get', 'channels/marina', channelOf())
    answer('get', 'channels/marina/ingest', waiting)
    answer('get', 'channels/marina/stream-key', {
      stream_key: 'live_x',
      rtmp_url: 'rtmp://weir.test/live',
      rtmps_url: null,
    })
    answer('get', 'channels/marina/recordings', listed(...items))
    answer('get', 'channels/marina/recording-settings', recordingSettingsOf(false))
  }

  it('turns recording on', async () => {
    serve()
    let said: unknown = null
    answerBy('put', 'channels/marina/recording-settings', async (request) => {
      said = await request.json()
      return HttpResponse.json(recordingSettingsOf(true))
    })
    const { user } = visit('/dashboard/marina', 'member')
    const record = await screen.findByRole('switch', { name: 'Record streams' })
    expect(record).toHaveAttribute('aria-checked', 'false')
    expect(await screen.findByText(/No videos yet/)).toBeInTheDocument()
    await user.click(record)
    await waitFor(() => expect(record).toHaveAttribute('aria-checked', 'true'))
    expect(said).toMatchObject({ is_on: true })
    expect(screen.getByText(/deleted after 90 days/)).toBeInTheDocument()
  })

  it('sets for how long videos are kept and how much room they take', async () => {
    serve()
    answer('get', 'channels/marina/recording-settings', recordingSettingsOf(true))
    let said: unknown = null
    answerBy('put', 'channels/marina/recording-settings', async (request) => {
      said = await request.json()
      return HttpResponse.json(recordingSettingsOf(true))
    })
    const { user } = visit('/dashboard/marina', 'member')
    expect(await screen.findByRole('meter', { name: 'Room that videos take' })).toHaveAttribute(
      'aria-valuenow',
      '1',
    )
    const days = screen.getByRole('textbox', { name: 'Keep for, in days' })
    await user.type(days, '1.5')
    expect(screen.getByText(/whole number of days/)).toBeInTheDocument()
    expect(screen.getByRole('button', { name: 'Save the limits' })).toBeDisabled()
    await user.clear(days)
    await user.type(days, '14')
    await user.type(screen.getByRole('textbox', { name: 'All together, in GB at most' }), '2,5')
    await user.click(screen.getByRole('button', { name: 'Save the limits' }))
    await waitFor(() =>
      expect(said).toEqual({ is_on: true, keep_days: 14, max_size_bytes: 2_500_000_000, max_count: null }),
    )
  })

  it('sees what failed, and deletes after a question', async () => {
    serve(
      recordingOf(),
      recordingOf({
        id: 'second',
        title: 'No room',
        status: 'failed',
        failure: 'storage_full',
        playback: null,
      }),
    )
    let deleted = ''
    answerBy('delete', 'recordings/first', (request) => {
      deleted = request.url
      answer('get', 'channels/marina/recordings', listed())
      return new HttpResponse(null, { status: 204 })
    })
    const { user } = visit('/dashboard/marina', 'member')
    expect(await screen.findByText(/Nothing was recorded: the server had no room left/)).toBeInTheDocument()
    await user.click(screen.getByRole('button', { name: 'More about Night shift on the river' }))
    await user.click(await screen.findByRole('menuitem', { name: 'Delete' }))
    const question = await screen.findByRole('dialog')
    await user.click(within(question).getByRole('button', { name: 'Keep it' }))
    expect(deleted).toBe('')
    await user.click(screen.getByRole('button', { name: 'More about Night shift on the river' }))
    await user.click(await screen.findByRole('menuitem', { name: 'Delete' }))
    await user.click(await screen.findByRole('button', { name: 'Delete it' }))
    expect(await screen.findByText(/No videos yet/)).toBeInTheDocument()
    expect(deleted).toContain('/recordings/first')
  })

  it('says who finds a video', async () => {
    serve(recordingOf())
    let said: unknown = null
    answerBy('patch', 'recordings/first', async (request) => {
      said = await request.json()
      return HttpResponse.json(recordingOf({ visibility: 'unlisted', version: 3 }))
    })
    const { user } = visit('/dashboard/marina', 'member')
    await user.click(await screen.findByRole('button', { name: 'More about Night shift on the river' }))
    await user.click(await screen.findByRole('menuitemradio', { name: 'Only with the link' }))
    await waitFor(() => expect(said).toEqual({ visibility: 'unlisted' }))
  })
})
