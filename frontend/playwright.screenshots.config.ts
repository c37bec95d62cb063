import { defineConfig } from '@playwright/test'
import { browser } from './e2e/browser'

const port = 4199

/** The built app (`npm run build` first) with every answer of the API made up: no server is needed. */
export default defineConfig({
  testDir: 'e2e',
  testMatch: 'screenshots.spec.ts',
  timeout: 120_000,
  workers: 1,
  reporter: [['list']],
  use: { ...browser, baseURL: `http://127.0.0.1:${port}` },
  webServer: {
    command: `npx vite preview --host 127.0.0.1 --port ${port} --strictPort`,
    url: `http://127.0.0.1:${port}`,
    reuseExistingServer: true,
  },
})
