import '@testing-library/jest-dom/vitest'
import { cleanup } from '@testing-library/react'
import { afterAll, afterEach, beforeAll, vi } from 'vitest'
import { activateLanguage } from '@/app/languages'
import { server } from './api'

// happy-dom has no layout, so nothing ever comes into sight by itself.
class NoObserver {
  observe() {
    return undefined
  }
  unobserve() {
    return undefined
  }
  disconnect() {
    return undefined
  }
}
vi.stubGlobal('IntersectionObserver', NoObserver)
globalThis.IntersectionObserver = NoObserver as unknown as typeof IntersectionObserver
window.scrollTo = () => undefined

beforeAll(async () => {
  server.listen({ onUnhandledRequest: 'error' })
  await activateLanguage('en')
})
afterEach(() => {
  cleanup()
  server.resetHandlers()
  localStorage.clear()
})
afterAll(() => server.close())
