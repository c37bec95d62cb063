import { defineConfig } from '@playwright/test'
import { browser } from './e2e/browser'

/** The real binary, wherever it runs: `WEIR_URL=http://127.0.0.1:8080 npm run e2e`. */
export default defineConfig({
  testDir: 'e2e',
  testIgnore: 'screenshots.spec.ts',
  timeout: 60_000,
  workers: 1,
  forbidOnly: process.env.CI !== undefined,
  reporter: [['list']],
  use: {
    ...browser,
    baseURL: process.env.WEIR_URL ?? 'http://127.0.0.1:8080',
    locale: 'en',
    trace: 'retain-on-failure',
  },
})
