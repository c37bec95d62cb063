import '@testing-library/jest-dom/vitest'
import { cleanup, configure } from '@testing-library/react'
import { afterAll, afterEach, beforeAll, vi } from 'vitest'
import { activateLanguage } from '@/app/languages'
import { server } from './api'

// A busy machine takes its time to load a page's chunk; what is waited for comes or is missing.
configure({ asyncUtilTimeout: 50_000 })

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
