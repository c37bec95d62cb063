import { expect, it } from 'vitest'
import { encoderName } from './encoder-name'

it.each([
  ['obs-output module (libobs version 29.0.2.1-1+b1)', 'OBS 29.0.2'],
  ['obs-output module (libobs version 31.1.0-beta1)', 'OBS 31.1.0'],
  ['Lavf59.27.100', 'ffmpeg (Lavf59.27.100)'],
  ['FMLE/3.0 (compatible; Wirecast)', 'FMLE/3.0 (compatible; Wirecast)'],
])('%s is %s', (said, name) => {
  expect(encoderName(said)).toBe(name)
})
