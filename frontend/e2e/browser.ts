import type { PlaywrightTestOptions, PlaywrightWorkerOptions } from '@playwright/test'

/** The system's own Chromium, which plays H.264 and AAC; nothing is downloaded and nothing phones home. */
export const browser: Partial<PlaywrightTestOptions & PlaywrightWorkerOptions> = {
  launchOptions: {
    executablePath: process.env.WEIR_CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  },
}
