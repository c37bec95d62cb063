import { useSyncExternalStore } from 'react'

export type ThemeChoice = 'system' | 'dark' | 'light'
export type Theme = 'dark' | 'light'

const key = 'weir:theme'
const grounds: Record<Theme, string> = { dark: '#081118', light: '#f7fbfc' }
const systemIsLight = window.matchMedia('(prefers-color-scheme: light)')
const listeners = new Set<() => void>()

function readChoice(): ThemeChoice {
  try {
    const stored = localStorage.getItem(key)
    return stored === 'dark' || stored === 'light' ? stored : 'system'
  } catch {
    return 'system'
  }
}

let choice = readChoice()

function paint(): void {
  const theme = currentTheme()
  document.documentElement.dataset.theme = theme
  document.querySelector('meta[name="theme-color"]')?.setAttribute('content', grounds[theme])
  listeners.forEach((listener) => listener())
}

function currentTheme(): Theme {
  if (choice !== 'system') return choice
  return systemIsLight.matches ? 'light' : 'dark'
}

systemIsLight.addEventListener('change', paint)

/** Chooses a theme and keeps it; `system` goes back to following the system. */
export function chooseTheme(next: ThemeChoice): void {
  choice = next
  try {
    if (next === 'system') localStorage.removeItem(key)
    else localStorage.setItem(key, next)
  } catch {
    // The choice then lasts as long as the page.
  }
  paint()
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

export function useThemeChoice(): ThemeChoice {
  return useSyncExternalStore(subscribe, () => choice)
}

export function useTheme(): Theme {
  return useSyncExternalStore(subscribe, currentTheme)
}
