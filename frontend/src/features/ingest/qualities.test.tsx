import { i18n } from '@lingui/core'
import { I18nProvider } from '@lingui/react'
import { render, screen, within } from '@testing-library/react'
import { describe, expect, it } from 'vitest'
import { expectAccessible } from '@/test/render'
import { liveIngest } from '@/test/fixtures'
import { Measured } from './measured'
import { Qualities } from './qualities'
import type { IngestStatus } from './queries'

function show(changes: Partial<IngestStatus>) {
  return render(
    <I18nProvider i18n={i18n}>
      <Qualities status={{ ...liveIngest, ...changes }} />
    </I18nProvider>,
  ).container
}

describe('what viewers can choose', () => {
  it('is the source and what is made of it, without a remark where all is well', async () => {
    const container = show({})
    const names = within(screen.getByRole('list')).getAllByRole('listitem')
    expect(names.map((item) => item.textContent)).toEqual([
      '1080p as you send it',
      '720p 2,800 kbit/s',
      '480p 1,200 kbit/s',
    ])
    expect(container.querySelector('p')).toBeNull()
    await expectAccessible(container)
  })

  it.each([
    ['too_slow', 'It tries again from time to time'],
    ['no_budget', 'They come as soon as there is room'],
    ['ffmpeg_failed', 'it is tried again'],
    ['ffmpeg_missing', 'ffmpeg is not installed'],
    ['disabled', 'does not make smaller sizes'],
    ['source_small', 'as small as the smallest size'],
    ['starting', 'about to come'],
    ['h264_nvenc_failed', 'video encoder (h264_nvenc) does not start'],
    ['h264_vaapi_failed', 'video encoder (h264_vaapi) does not start'],
    ['h264_qsv_failed', 'video encoder (h264_qsv) does not start'],
    ['custom_encoder_failed', 'video encoder (ladder.encoder_args) does not start'],
  ])('says why there are no more: %s', (code, words) => {
    const container = show({ renditions: [], renditions_remark: { code, message: 'Of the server.' } })
    expect(within(screen.getByRole('list')).getAllByRole('listitem')).toHaveLength(1)
    expect(container.querySelector('p')?.textContent).toContain(words)
    expect(container.textContent).not.toContain('Of the server.')
  })

  it('says what the server says where it has no words of its own', () => {
    show({ renditions_remark: { code: 'of_tomorrow', message: 'Of the server.' } })
    expect(screen.getByText('Of the server.')).toBeInTheDocument()
  })

  it('says how far one is behind when it is late', () => {
    const [first, second] = liveIngest.renditions
    if (first === undefined || second === undefined) throw new Error('there are two')
    show({ renditions: [{ ...first, lag_ms: 3210 }, second] })
    const items = within(screen.getByRole('list')).getAllByRole('listitem')
    expect(items.map((item) => item.textContent.includes('behind'))).toEqual([false, true, false])
    expect(items[1]).toHaveTextContent('3.2 s behind your stream')
  })

  it('is nothing where there is no picture', () => {
    expect(show({ video: null })).toBeEmptyDOMElement()
  })
})

describe('the figures of what arrives', () => {
  const attention = (changes: Partial<IngestStatus>) => {
    render(
      <I18nProvider i18n={i18n}>
        <Measured status={{ ...liveIngest, ...changes }} />
      </I18nProvider>,
    )
    const marks = screen.queryAllByRole('img', { name: 'Needs attention' })
    return marks.map((mark) => mark.closest('dt')?.textContent)
  }

  it('need no attention when all is well', () => {
    expect(attention({})).toEqual([])
  })

  it('show that sound or picture is missing', () => {
    const advice = ['no_audio', 'sound_alone'].map((code) => ({ code, message: '' }))
    expect(attention({ audio: null, video: null, sound_ahead_ms: null, advice })).toEqual([
      'Picture',
      'Audio',
    ])
  })
})
