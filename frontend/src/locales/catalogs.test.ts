import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

const texts = (language: string) =>
  readFileSync(`src/locales/${language}.po`, 'utf8')
    .split('\n\n')
    .slice(1)
    .map((entry) => ({
      id: /^msgid "(.*)"$/m.exec(entry)?.[1] ?? entry,
      text: /^msgstr "(.*)"$/m.exec(entry)?.[1] ?? '',
    }))

/** The names between braces that a text must carry over. */
const names = (text: string) => [...new Set(Array.from(text.matchAll(/\{(\w+)[,}]|<(\d+)/g), ([, a, b]) => a ?? b))].sort()

describe.each(['uk', 'ru', 'fr'])('the catalogue %s', (language) => {
  it('has every text of the English one, with its placeholders', () => {
    const translated = texts(language)
    expect(translated.map(({ id }) => id)).toEqual(texts('en').map(({ id }) => id))
    expect(translated.filter(({ text }) => text === '').map(({ id }) => id)).toEqual([])
    for (const { id, text } of translated) expect(names(text), id).toEqual(names(id))
  })

  it('has the plural forms of its language', () => {
    const forms = new Intl.PluralRules(language).resolvedOptions().pluralCategories
    for (const { text } of texts(language).filter(({ text }) => text.includes(', plural,'))) {
      const needed = language === 'fr' ? ['one', 'other'] : forms
      for (const form of needed) expect(text).toContain(`${form} {`)
    }
  })
})
