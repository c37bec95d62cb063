import { useState } from 'react'

const key = 'weir:theatre'

/** Whether the player takes the whole width; kept from visit to visit. */
export function useTheatre(): { isTheatre: boolean; setTheatre: (isTheatre: boolean) => void } {
  const [isTheatre, set] = useState(() => {
    try {
      return localStorage.getItem(key) === '1'
    } catch {
      return false
    }
  })
  return {
    isTheatre,
    setTheatre: (next) => {
      set(next)
      try {
        localStorage.setItem(key, next ? '1' : '0')
      } catch {
        // Then it lasts as long as the page.
      }
    },
  }
}
