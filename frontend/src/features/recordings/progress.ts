/** Where somebody stopped watching, on this device: enough to go on, and no more than some of the latest. */
const key = 'weir.watched'
const keptCount = 50
/** Who has seen less than this begins again, and so does who has seen almost all. */
const marginSeconds = 15

type Watched = [id: string, seconds: number][]

function read(): Watched {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(key) ?? '[]')
    return Array.isArray(kept) ? (kept as Watched) : []
  } catch {
    return []
  }
}

/** Where to begin, in seconds. */
export function watchedUntil(id: string): number {
  const seconds = read().find(([of]) => of === id)?.[1]
  return typeof seconds === 'number' && Number.isFinite(seconds) ? seconds : 0
}

export function keepWatched(id: string, seconds: number, duration: number): void {
  const others = read().filter(([of]) => of !== id)
  const isMidway = seconds > marginSeconds && seconds < duration - marginSeconds
  const kept: Watched = isMidway ? [[id, Math.floor(seconds)], ...others] : others
  try {
    localStorage.setItem(key, JSON.stringify(kept.slice(0, keptCount)))
  } catch {
    // A browser that keeps nothing begins again each time.
  }
}
