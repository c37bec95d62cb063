import { expect, test } from '@playwright/test'

/**
 * A video that ended before its stream, since it had taken all the room of its channel: `WEIR_RECORDING` of
 * `WEIR_CHANNEL`, whose owner is `WEIR_USERNAME` with `WEIR_PASSWORD`.
 */
const { WEIR_CHANNEL: handle, WEIR_RECORDING: id } = process.env
const { WEIR_USERNAME: username, WEIR_PASSWORD: password } = process.env

test.skip(id === undefined, 'no video is named')

test('its owner reads why it ends early and what to do, and everybody sees what there is of it', async ({
  page,
}) => {
  const path = `/${handle ?? ''}/videos/${id ?? ''}`
  const why = 'It ends early: it had taken all the room that this channel’s videos may take.'
  const whatToDo = 'Set a higher limit in the dashboard, or ask whoever runs the server for more room.'
  const words = page.getByText(why, { exact: true })
  const isThere = () =>
    expect
      .poll(() => page.getByTestId('player-video').evaluate((video) => (video as HTMLVideoElement).duration))
      .toBeGreaterThan(0)
  await page.goto(path)
  await isThere()
  await expect(page.getByRole('button', { name: 'Copy the link' })).toBeVisible()
  await expect(words).toHaveCount(0)

  await page.goto(`/sign-in?next=${encodeURIComponent(path)}`)
  await page.getByLabel('Username').fill(username ?? '')
  await page.getByLabel('Password', { exact: true }).fill(password ?? '')
  await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click()
  await expect(words).toBeVisible()
  await expect(page.getByText(whatToDo, { exact: true })).toBeVisible()
  await isThere()
  // The way to the limit that the words speak of.
  await page.getByRole('main').getByRole('link', { name: 'Dashboard' }).click()
  await expect(page.getByRole('heading', { level: 2, name: 'Videos' })).toBeVisible()
  await expect(page.getByText(`${why} ${whatToDo}`, { exact: true })).toBeVisible()
})
