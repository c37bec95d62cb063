import { defineConfig } from '@playwright/test'
import { browser } from './e2e/browser'

/** The real binary, wherever it runs: `WEIR_URL=http://127.0.0.1:8080 npm run e2e`. */
export default defineConfig({
  testDir: 'e2e',
  testIgnore: 'screenshots.spec.ts',
  // Limits are there for what never comes: a machine that runs all tests at once takes its time.
  timeout: 600_000,
  expect: { timeout: 120_000 },
  workers: 1,
  forbidOnly: process.env.CI !== undefined,
  reporter: [['list']],
  use: {
    ...browser,
    baseURL: process.env.WEIR_URL ?? 'http://127.0.0.1:8080',
    locale: 'en',
    // Without a picture of every moment, which would take more of the processor than the video does.
    trace: { mode: 'retain-on-failure', screenshots: false, snapshots: true },
    screenshot: 'only-on-failure',
  },
})
