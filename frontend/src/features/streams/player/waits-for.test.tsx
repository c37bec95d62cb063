import { i18n } from '@lingui/core'
import { I18nProvider } from '@lingui/react'
import { render } from '@testing-library/react'
import { expect, it } from 'vitest'
import { WaitsFor } from './waits-for'

it.each([
  [1, '1 second'],
  [59, '59 seconds'],
  [60, '1 minute'],
  [90, '90 seconds'],
  [600, '10 minutes'],
  [3599, '59 minutes'],
  [3600, '60 minutes'],
])('%i seconds', (seconds, words) => {
  const { container } = render(
    <I18nProvider i18n={i18n}>
      <WaitsFor seconds={seconds} />
    </I18nProvider>,
  )
  expect(container).toHaveTextContent(`The stream stays open for ${words}.`)
})
