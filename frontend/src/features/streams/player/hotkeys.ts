import { useEffect, useRef } from 'react'

export interface PlayerKeys {
  togglePlay: () => void
  toggleMute: () => void
  toggleFullscreen: () => void
  toggleTheatre: () => void
  togglePictureInPicture: () => void
  toggleFigures: () => void
  seekBy: (seconds: number) => void
  changeVolume: (by: number) => void
}

/** Whether a key belongs to what has the focus rather than to the player. */
function isTaken(event: KeyboardEvent, player: HTMLElement | null): boolean {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return true
  const target = event.target instanceof HTMLElement ? event.target : null
  if (target === null) return false
  if (
    target.isContentEditable ||
    target.closest('input, textarea, select, [role="menu"], [role="dialog"]') !== null
  ) {
    return true
  }
  const isSpace = event.key === ' '
  const isArrow = event.key.startsWith('Arrow')
  if (!isSpace && !isArrow) return false
  if (target.localName === 'media-volume-range') return true
  // A focused button or link is pressed by the space bar.
  if (isSpace && target.closest('button, a, [role="button"]') !== null) return true
  // Elsewhere the arrows scroll the page.
  return isArrow && !(player?.contains(target) ?? false)
}

/** The keys of the watch page: they work wherever the focus is, except where one types. */
export function usePlayerKeys(
  player: React.RefObject<HTMLElement | null>,
  keys: PlayerKeys,
  isActive: boolean,
): void {
  const latest = useRef(keys)
  useEffect(() => {
    latest.current = keys
  })
  useEffect(() => {
    if (!isActive) return
    const onKey = (event: KeyboardEvent) => {
      if (isTaken(event, player.current)) return
      const act = actionOf(event.key, latest.current)
      if (act === null) return
      event.preventDefault()
      act()
    }
    document.addEventListener('keydown', onKey)
    return () => document.removeEventListener('keydown', onKey)
  }, [player, isActive])
}

function actionOf(key: string, keys: PlayerKeys): (() => void) | null {
  switch (key) {
    case ' ':
    case 'k':
    case 'K':
      return keys.togglePlay
    case 'm':
    case 'M':
      return keys.toggleMute
    case 'f':
    case 'F':
      return keys.toggleFullscreen
    case 't':
    case 'T':
      return keys.toggleTheatre
    case 'i':
    case 'I':
      return keys.togglePictureInPicture
    case 's':
    case 'S':
      return keys.toggleFigures
    case 'j':
    case 'J':
      return () => keys.seekBy(-10)
    case 'l':
    case 'L':
      return () => keys.seekBy(10)
    case 'ArrowLeft':
      return () => keys.seekBy(-5)
    case 'ArrowRight':
      return () => keys.seekBy(5)
    case 'ArrowUp':
      return () => keys.changeVolume(0.05)
    case 'ArrowDown':
      return () => keys.changeVolume(-0.05)
    default:
      return null
  }
}
