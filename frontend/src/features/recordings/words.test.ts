import { expect, test } from 'vitest'
import { clockText, sizeText } from './words'

test('durations are written as clocks show them', () => {
  expect(clockText(0)).toBe('0:00')
  expect(clockText(59_700)).toBe('1:00')
  expect(clockText(754_000)).toBe('12:34')
  expect(clockText(3_723_000)).toBe('1:02:03')
})

test('sizes have a unit that fits', () => {
  expect(sizeText(1_200_000, 'en')).toBe('1.2 MB')
  expect(sizeText(2_250_000_000, 'en')).toBe('2.3 GB')
  expect(sizeText(45_000_000_000, 'en')).toBe('45 GB')
  expect(sizeText(3_000_000_000_000, 'en')).toBe('3 TB')
})
