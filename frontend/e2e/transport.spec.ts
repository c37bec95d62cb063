import { chromium, expect, test } from '@playwright/test'
import { browser as options } from './browser'

/**
 * A Weir that speaks TLS itself. Needs its public address in `WEIR_URL`, of a name that leads nowhere but here, and in
 * `WEIR_CERTIFICATE_KEY` the key of its certificate as browsers name it (SHA-256 of the SubjectPublicKeyInfo, base64), which is trusted as if
 * somebody had signed it: a browser heeds nothing about https that comes over a connection that it does not trust.
 */
const weir = process.env.WEIR_URL ?? ''
const key = process.env.WEIR_CERTIFICATE_KEY ?? ''

test.skip(key === '', 'no certificate is named')

test('a browser that has been here by https comes back by https, whatever it is told', async () => {
  const { launchOptions } = options
  const { hostname } = new URL(weir)
  const browser = await chromium.launch({
    ...launchOptions,
    args: [
      ...(launchOptions?.args ?? []),
      `--host-resolver-rules=MAP ${hostname} 127.0.0.1`,
      `--ignore-certificate-errors-spki-list=${key}`,
    ],
  })
  try {
    const plain = `${weir.replace('https:', 'http:')}/healthz`
    // The port speaks TLS alone: who has not been here gets nothing.
    await expect((await browser.newPage()).goto(plain)).rejects.toThrow()
    const page = await browser.newPage()
    const first = await page.goto(weir)
    expect(first?.headers()['strict-transport-security']).toBe('max-age=31536000; includeSubDomains')
    await expect(page.locator('main')).toBeVisible()
    const again = await page.goto(plain)
    expect([again?.status(), page.url()]).toEqual([200, `${weir}/healthz`])
  } finally {
    await browser.close()
  }
})
