import { render } from '@testing-library/react'
import { expect, test } from 'vitest'
import { Thumbnail } from './thumbnail'

function imageOf(url: string, isLive: boolean): HTMLImageElement {
  const image = render(<Thumbnail url={url} isLive={isLive} />).container.querySelector('img')
  if (image === null) throw new Error('there is no picture')
  return image
}

test('offers the lighter pictures of a stream, with its token and the same moment', () => {
  const image = imageOf('https://weir.example.org/live/t/abc/0192/thumbnail.jpg', true)
  const [, moment] = image.src.split('?')
  expect(image.srcset).toBe(
    `/live/t/abc/0192/thumbnail-small.webp?${moment} 320w, /live/t/abc/0192/thumbnail.webp?${moment} 640w`,
  )
  expect(image.sizes).toContain('20rem')
})

test('asks for the one picture that a recording has', () => {
  const image = imageOf('https://weir.example.org/vod/0192/thumbnail.jpg', false)
  expect(image.getAttribute('srcset')).toBeNull()
  expect(image.getAttribute('src')).toBe('/vod/0192/thumbnail.jpg')
})
