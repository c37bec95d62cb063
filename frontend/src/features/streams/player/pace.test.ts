import { expect, it } from 'vitest'
import { pace } from './pace'

it('plays at its own pace at the goal, and before it', () => {
  expect(pace(0, 2, 0.5)).toBe(1)
  expect(pace(-1, 2, 0.5)).toBe(1)
  expect(pace(0.1, 2, 0.5)).toBe(1)
})

it('hurries the more, the more is missing', () => {
  expect(pace(0.2, 2, 0.5)).toBe(1.05)
  expect(pace(0.5, 2, 0.5)).toBe(1.2)
  expect(pace(2, 2, 0.5)).toBe(1.5)
  expect(pace(20, 2, 0.5)).toBe(1.5)
})

it('does not use up what bridges the wait for the next part', () => {
  expect(pace(3, 1, 0.5)).toBe(1)
  expect(pace(3, 0.6, 0.333)).toBe(1)
  expect(pace(0.4, 0.8, 0.333)).toBe(1.15)
})
