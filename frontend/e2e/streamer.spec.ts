import { expect, test } from '@playwright/test'

test('a newcomer registers, creates a channel and finds the key', async ({ page }) => {
  const name = `e2e_${Date.now().toString(36)}`
  await page.goto('/')
  await page.getByRole('link', { name: 'Register', exact: true }).click()
  await page.getByLabel('Username').fill(name)
  await page.getByLabel('E-mail').fill(`${name}@example.org`)
  await page.getByLabel('Password').fill('a river goes over it')
  await page.getByRole('button', { name: 'Register' }).click()

  await expect(page.getByRole('heading', { level: 1, name: 'Create a channel' })).toBeVisible()
  await page.getByLabel('Address').fill(name)
  await page.getByLabel('Title').fill('First light')
  await page.getByRole('button', { name: 'Create the channel' }).click()

  await expect(page).toHaveURL(`/dashboard/${name}`)
  await expect(page.getByTestId('rtmp-url')).toHaveValue(/^rtmps?:\/\//)
  await expect(page.getByTestId('stream-key')).toHaveAttribute('type', 'password')
  await expect(page.getByTestId('stream-key')).toHaveValue(/^live_/)
  await expect(page.getByTestId('ingest-state')).toHaveAttribute('data-state', 'waiting')

  // The session is kept by its cookie.
  await page.reload()
  await expect(page.getByTestId('stream-key')).toHaveValue(/^live_/)
  const before = await page.getByTestId('stream-key').inputValue()
  await page.getByRole('button', { name: 'New key' }).click()
  await page.getByRole('button', { name: 'Make a new key' }).click()
  await expect(page.getByTestId('stream-key')).not.toHaveValue(before)

  await page.goto(`/${name}`)
  await expect(page.getByTestId('offline-stage')).toBeVisible()

  await page.getByRole('button', { name: `Account ${name}` }).click()
  await page.getByRole('menuitem', { name: 'Sign out' }).click()
  await expect(page.getByRole('link', { name: 'Sign in' })).toBeVisible()
  await page.goto(`/dashboard/${name}`)
  await expect(page.getByRole('heading', { level: 1, name: 'Sign in' })).toBeVisible()
})
