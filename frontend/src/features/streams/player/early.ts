import Hls, { Events, type ErrorData, type ManifestLoadedData, type ManifestParsedData } from 'hls.js/light'
import { liveConfig } from './hls-config'

/** Past this what was begun is not near to now any more. */
const keptMs = 3000

/** A stream that is loaded before there is a player for it. */
export interface EarlyLoad {
  hls: Hls
  /** What it has told so far, to nobody. */
  loaded: ManifestLoadedData | null
  parsed: ManifestParsedData | null
}

let begun: (EarlyLoad & { url: string; drop: () => void }) | null = null
/** What a player asked for that had not been begun: it has begun itself. */
let missed: { url: string; at: number } | null = null

/** Begins with what the server named in the head of this page: the address is known before the channel is. */
export function loadNamed(): void {
  const link = document.head.querySelector('link[rel="preload"][as="fetch"][href$=".m3u8"]')
  const url = link?.getAttribute('href')
  // For the page that was opened, and not for what is gone to from there.
  link?.remove()
  if (typeof url === 'string') loadEarly(url)
}

/** Begins to load what is live at an address, while the page around the player is still being built. */
export function loadEarly(url: string): void {
  const isLate = missed?.url === url && performance.now() - missed.at < keptMs
  if (begun?.url === url || isLate || !Hls.isSupported()) return
  begun?.drop()
  const hls = new Hls({ ...liveConfig, startFragPrefetch: true })
  const drop = () => {
    if (begun?.hls !== hls) return
    begun = null
    hls.destroy()
  }
  const mine = { url, hls, loaded: null, parsed: null, drop } as NonNullable<typeof begun>
  hls.once(Events.MANIFEST_LOADED, (_, data) => (mine.loaded = data))
  hls.once(Events.MANIFEST_PARSED, (_, data) => (mine.parsed = data))
  // Whoever plays it begins anew, and sees by itself what is wrong.
  hls.on(Events.ERROR, (_, { fatal }: ErrorData) => fatal && drop())
  begun = mine
  hls.loadSource(url)
  // The page may have been left before it had a player.
  setTimeout(drop, keptMs)
}

/** What was begun for an address, for the one who asks first. */
export function takeEarly(url: string): EarlyLoad | null {
  if (begun?.url !== url) {
    missed = { url, at: performance.now() }
    return null
  }
  const taken = begun
  begun = null
  return taken
}
