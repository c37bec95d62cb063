import { beforeEach, expect, test } from 'vitest'
import { keepWatched, watchedUntil } from './progress'

beforeEach(() => localStorage.clear())

test('who stopped midway goes on there', () => {
  expect(watchedUntil('one')).toBe(0)
  keepWatched('one', 100.7, 600)
  keepWatched('two', 30, 600)
  expect(watchedUntil('one')).toBe(100)
  expect(watchedUntil('two')).toBe(30)
})

test('who has hardly begun, or is through, begins again', () => {
  keepWatched('one', 300, 600)
  keepWatched('one', 5, 600)
  expect(watchedUntil('one')).toBe(0)
  keepWatched('one', 300, 600)
  keepWatched('one', 590, 600)
  expect(watchedUntil('one')).toBe(0)
})

test('what cannot be read counts for nothing', () => {
  localStorage.setItem('weir.watched', '{')
  expect(watchedUntil('one')).toBe(0)
  keepWatched('one', 300, 600)
  expect(watchedUntil('one')).toBe(300)
})
