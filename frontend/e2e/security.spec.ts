import { createServer, type Server } from 'node:http'
import { expect, test } from '@playwright/test'

/**
 * What browsers make of the headers. Needs a channel in `WEIR_CHANNEL`, and in `WEIR_FRIEND_PORT` a port on which this serves the pages of
 * another site: at `localhost` it is named with --cors-origins, at `127.0.0.1` it is not.
 */
const port = process.env.WEIR_FRIEND_PORT ?? ''
const weir = process.env.WEIR_URL ?? ''
let server: Server

test.beforeAll(async () => {
  server = createServer((_, response) => {
    response.setHeader('content-type', 'text/html')
    response.end('<!doctype html><title>Another site</title><body></body>')
  })
  await new Promise<void>((resolve) => server.listen(Number(port), () => resolve()))
})

test.afterAll(() => {
  server.close()
})

test('a page runs no script but its own', async ({ page }) => {
  await page.goto('/')
  await expect(page.locator('main')).toBeVisible()
  const violated = await page.evaluate(async () => {
    const violation = new Promise<string>((resolve) => {
      document.addEventListener('securitypolicyviolation', (event) => resolve(event.effectiveDirective), {
        once: true,
      })
    })
    const script = document.createElement('script')
    script.textContent = 'window.gotIn = true'
    document.body.append(script)
    return violation
  })
  expect(violated).toMatch(/^script-src/)
  expect(await page.evaluate(() => 'gotIn' in window)).toBe(false)
  const elsewhere = await page.evaluate(() =>
    fetch('https://example.org/').then(
      () => 'answered',
      (error: unknown) => (error as Error).name,
    ),
  )
  expect(elsewhere).toBe('TypeError')
  const permissions = await page.evaluate(
    async () => (await navigator.permissions.query({ name: 'geolocation' })).state,
  )
  expect(permissions).toBe('denied')
})

test('what is no script is not run as one', async ({ page }) => {
  await page.goto('/')
  await expect(page.locator('main')).toBeVisible()
  const refused = page.waitForEvent('console', (message) =>
    message.text().includes('strict MIME type checking is enabled'),
  )
  const came = await page.evaluate(
    () =>
      new Promise<string>((resolve) => {
        const script = document.createElement('script')
        // JSON, which a browser that may guess would try.
        script.src = '/healthz'
        script.onload = () => resolve('run')
        script.onerror = () => resolve('refused')
        document.body.append(script)
      }),
  )
  expect(came).toBe('refused')
  await refused
})

test('other sites learn where a visitor comes from, and not what they looked at', async ({ page }) => {
  const secret = `/${process.env.WEIR_CHANNEL ?? ''}?looked=at`
  const referrer = async (by: (address: string) => void, address: string) => {
    await page.goto(secret)
    await expect(page.locator('main')).toBeVisible()
    await Promise.all([page.waitForURL(`${address}**`), page.evaluate(by, address)])
    return page.evaluate(() => document.referrer)
  }
  const link = (address: string) => {
    const anchor = document.createElement('a')
    anchor.href = address
    document.body.append(anchor)
    anchor.click()
  }
  for (const host of ['localhost', '127.0.0.1'])
    expect(await referrer(link, `http://${host}:${port}/`), host).toBe(`${new URL(weir).origin}/`)
  // What the browser would do by itself is not asked: the page that came says so.
  const policy = await page.request.get(`${weir}${secret}`)
  expect(policy.headers()['referrer-policy']).toBe('strict-origin-when-cross-origin')
})

test('no other site frames a page', async ({ page }) => {
  await page.goto(`http://localhost:${port}/`)
  const refused = page.waitForEvent('console', (message) => message.text().includes('frame-ancestors'))
  await page.evaluate((address) => {
    const frame = document.createElement('iframe')
    frame.src = address
    document.body.append(frame)
  }, weir)
  await refused
})

/** What a page gets for a call of the API: its status, or that the browser kept the answer from it. */
const call = `async ([address, init]) => {
  try {
    return String((await fetch(address, init)).status)
  } catch {
    return 'kept away'
  }
}`

test('another site reads the API only if it is named, and never by a cookie', async ({ page }) => {
  const channel = `${weir}/api/v1/channels/${process.env.WEIR_CHANNEL ?? ''}`
  const wrongToken = { headers: { authorization: 'Bearer a.b.c' } }
  const refresh = [`${weir}/api/v1/auth/refresh`, { method: 'POST', credentials: 'include' }]
  const evaluate = (argument: unknown) => page.evaluate(`(${call})(${JSON.stringify(argument)})`)

  await page.goto(`http://localhost:${port}/`)
  expect(await evaluate([channel, {}])).toBe('200')
  // With a header that makes the browser ask first.
  expect(await evaluate([`${weir}/api/v1/auth/me`, wrongToken])).toBe('401')
  expect(await evaluate(refresh)).toBe('kept away')

  await page.goto(`http://127.0.0.1:${port}/`)
  expect(await evaluate([channel, {}])).toBe('kept away')
  expect(await evaluate([`${weir}/api/v1/auth/me`, wrongToken])).toBe('kept away')
  expect(await evaluate(refresh)).toBe('kept away')
})

test('a form of another site signs nobody out', async ({ page }) => {
  await page.goto(`http://localhost:${port}/`)
  const answered = page.waitForResponse((response) => response.url().endsWith('/auth/logout'))
  await page.evaluate((address) => {
    const form = document.createElement('form')
    form.method = 'post'
    form.action = `${address}/api/v1/auth/logout`
    document.body.append(form)
    form.submit()
  }, weir)
  expect((await answered).status()).toBe(403)
})
