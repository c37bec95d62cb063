import { screen } from '@testing-library/react'
import { describe, expect, it } from 'vitest'
import { visit } from '@/test/render'

/** The sources of everything that is shown. */
const sources = import.meta.glob<string>(['../../**/*.tsx', '!../../**/*.test.tsx'], {
  query: '?raw',
  import: 'default',
  eager: true,
})

describe('fields for passwords', () => {
  it.each([
    ['/sign-in', 'Password', 'current-password'],
    ['/register', 'Password', 'new-password'],
    ['/reset-password#k7qm-2f9x', 'New password', 'new-password'],
  ])('at %s hide what is typed, and take what is pasted or filled in', async (path, label, kind) => {
    const { user } = visit(path)
    const field = await screen.findByLabelText(label)
    expect(field).toHaveAttribute('type', 'password')
    expect(field).toHaveAttribute('autocomplete', kind)
    await user.click(field)
    await user.paste('quiet river water')
    expect(field).toHaveValue('quiet river water')
  })

  it('are such everywhere, and nothing keeps anybody from pasting', () => {
    const all = Object.entries(sources)
    expect(all.length).toBeGreaterThan(50)
    const kinds = all.flatMap(([file, source]) =>
      Array.from(
        source.matchAll(/type="password"\s+autoComplete="([a-z-]+)"/g),
        ([, kind]) => `${file} ${kind ?? ''}`,
      ),
    )
    const fields = all.flatMap(([, source]) => source.match(/type="password"/g) ?? [])
    expect(kinds).toHaveLength(fields.length)
    expect(kinds.length).toBeGreaterThanOrEqual(5)
    for (const kind of kinds) expect(kind).toMatch(/ (current|new)-password$/)
    expect(all.filter(([, source]) => source.includes('onPaste')).map(([file]) => file)).toEqual([])
    // A field that takes a password in the open would have this, and another type or none.
    const named = all.flatMap(([, source]) => source.match(/['"](?:current|new)-password['"]/g) ?? [])
    expect(named).toHaveLength(fields.length)
  })
})
