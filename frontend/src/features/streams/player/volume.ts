export interface Volume {
  level: number
  isMuted: boolean
}

const key = 'weir:volume'

/** The volume of the last visit; `null` on the first, which starts without sound. */
export function readVolume(): Volume | null {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(key) ?? 'null')
    if (typeof stored !== 'object' || stored === null) return null
    const { level, isMuted } = stored as Partial<Volume>
    if (typeof level !== 'number' || !(level >= 0 && level <= 1) || typeof isMuted !== 'boolean') return null
    return { level, isMuted }
  } catch {
    return null
  }
}

export function keepVolume(volume: Volume): void {
  try {
    localStorage.setItem(key, JSON.stringify(volume))
  } catch {
    // Without storage every visit starts without sound.
  }
}
