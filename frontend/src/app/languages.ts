import { i18n, type Messages } from '@lingui/core'

export const languages = { en: 'English', uk: 'Українська', ru: 'Русский', fr: 'Français' } as const
export type Language = keyof typeof languages

const key = 'weir:language'

const catalogs: Record<Language, () => Promise<{ messages: Messages }>> = {
  en: () => import('../locales/en.po'),
  uk: () => import('../locales/uk.po'),
  ru: () => import('../locales/ru.po'),
  fr: () => import('../locales/fr.po'),
}

function isLanguage(value: string | null): value is Language {
  return value !== null && value in languages
}

/** The language chosen before, or the first of the browser's that Weir speaks. */
export function preferredLanguage(): Language {
  let stored: string | null = null
  try {
    stored = localStorage.getItem(key)
  } catch {
    // Storage may be forbidden.
  }
  if (isLanguage(stored)) return stored
  for (const tag of navigator.languages) {
    const base = tag.split('-')[0] ?? ''
    if (isLanguage(base)) return base
  }
  return 'en'
}

/** Loads the language's catalogue and shows it. */
export async function activateLanguage(language: Language): Promise<void> {
  const { messages } = await catalogs[language]()
  i18n.loadAndActivate({ locale: language, messages })
  document.documentElement.lang = language
}

/** Shows the language and keeps the choice. */
export async function chooseLanguage(language: Language): Promise<void> {
  try {
    localStorage.setItem(key, language)
  } catch {
    // The choice then lasts as long as the page.
  }
  await activateLanguage(language)
}
