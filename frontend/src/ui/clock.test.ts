import { describe, expect, it } from 'vitest'
import { formatAgo, formatDuration } from './clock'

describe('clocks', () => {
  it('shows hours, minutes and seconds', () => {
    expect(formatDuration(0)).toBe('0:00:00')
    expect(formatDuration(3_725_000)).toBe('1:02:05')
    expect(formatDuration(100 * 3_600_000)).toBe('100:00:00')
    expect(formatDuration(-5000)).toBe('0:00:00')
  })

  it('says how long ago in each language, with its plurals', () => {
    const now = Date.parse('2026-11-21T12:00:00Z')
    const hours = (count: number) => now - count * 3_600_000
    expect(formatAgo(hours(3), now, 'en')).toBe('3 hours ago')
    expect(formatAgo(hours(2), now, 'uk')).toBe('2 години тому')
    expect(formatAgo(hours(5), now, 'ru')).toBe('5 часов назад')
    expect(formatAgo(hours(24), now, 'fr')).toBe('hier')
    expect(formatAgo(now + 60_000, now, 'en')).toBe('now')
  })
})
