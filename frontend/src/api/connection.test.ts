import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Connection } from './connection'

describe('the connection', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('asks with growing pauses until the server is back, then tells', async () => {
    const asked = vi.fn(() => Promise.reject<Response>(new TypeError('refused')))
    vi.stubGlobal('fetch', asked)
    const connection = new Connection()
    const returned = vi.fn()
    connection.onReturn(returned)
    connection.failed()
    connection.failed()
    expect(connection.lost()).toBe(true)
    await vi.advanceTimersByTimeAsync(30_000)
    expect(asked.mock.calls.length).toBeGreaterThanOrEqual(4)
    expect(asked.mock.calls.length).toBeLessThanOrEqual(9)
    asked.mockResolvedValue(new Response('ok'))
    await vi.advanceTimersByTimeAsync(12_000)
    expect(connection.lost()).toBe(false)
    expect(returned).toHaveBeenCalledOnce()
    asked.mockClear()
    await vi.advanceTimersByTimeAsync(60_000)
    expect(asked).not.toHaveBeenCalled()
  })
})
