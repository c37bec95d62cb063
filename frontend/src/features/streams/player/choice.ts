import type Hls from 'hls.js/light'
import { playlistPath, readQualities, type Quality } from './levels'
import type { PictureState, SourceEvents } from './source-state'

/** How often new renditions are looked for; the answer is mostly "as before". */
const lookForQualitiesMs = 15_000

interface Named {
  height?: number | undefined
  videoCodec?: string | undefined
}

interface Parsed extends Named {
  uri: string
  height: number
  frameRate: number
  bitrate: number
}

/** What a stream can be watched in, and what of that the viewer has chosen. */
export class Choice {
  private chosen: string | null = null
  private qualities: Quality[] = []
  private picture: PictureState = 'there'
  /** How many qualities with a picture the playlist named. */
  private namedPictures = 0
  private playsPicture = false
  private isPast = false
  private lookedAt = performance.now()

  constructor(
    private readonly url: string,
    private readonly events: SourceEvents,
    private readonly life: AbortSignal,
  ) {}

  /** Nothing was chosen: the player takes what it can keep up with. */
  get isAutomatic(): boolean {
    return this.chosen === null
  }

  /** Something else begins to be played: what is live, or the past. */
  begin(isPast: boolean): void {
    this.isPast = isPast
    this.playsPicture = false
  }

  /** The player was told what the playlist names. */
  named(levels: readonly Named[]): void {
    // Told last: what this browser cannot play is left out of what was parsed before.
    this.namedPictures = levels.filter(hasPicture).length
    if (!this.playsPicture) this.tellPicture(this.namedPictures > 0 ? 'unplayable' : 'none')
  }

  /** The player knows what it can play. */
  parsed(hls: Hls, levels: readonly Parsed[]): void {
    this.playsPicture = levels.some(hasPicture)
    if (this.playsPicture) this.tellPicture('there')
    // The playlists of the past have the same renditions under other names.
    if (this.isPast) return
    const known = levels.map(({ uri, height, frameRate, bitrate }) => {
      return { id: playlistPath(uri), height, frameRate, bitrate }
    })
    this.setQualities(known.filter(({ height }) => height > 0))
    const index = this.chosen === null ? null : levelOf(hls, this.chosen)
    if (index === null) this.chosen = null
    else {
      hls.startLevel = index
      hls.nextLevel = index
    }
  }

  /** The player shows another level. */
  switched(hls: Hls, level: number): void {
    const uri = hls.levels[level]?.uri
    this.events.onShownQuality?.(uri === undefined || this.isPast ? null : playlistPath(uri))
  }

  /** The player can play nothing of what there is. */
  failed(): void {
    this.tellPicture('unplayable')
  }

  /**
   * Chooses a quality by its id; `null` leaves the choice to the player.
   *
   * @returns whether the player could be told: it does not know of what came after it had read what there is
   */
  choose(hls: Hls | null, id: string | null): boolean {
    this.chosen = id
    if (hls === null) return true
    const index = id === null ? -1 : levelOf(hls, id)
    if (index === null) return false
    hls.nextLevel = index
    return true
  }

  /** Whether the player does not know all that it could choose from. */
  lacks(hls: Hls | null): boolean {
    return !this.isPast && this.qualities.some(({ id }) => levelOf(hls, id) === null)
  }

  isTimeToLook(time: number): boolean {
    return time - this.lookedAt > lookForQualitiesMs
  }

  /**
   * Renditions begin after the stream has: the menu learns of them without disturbing what plays.
   *
   * @param folder the folder of the stream that plays; `null` while that is unknown
   * @returns whether there is one now that may be played in place of none
   */
  async look(folder: () => string | null): Promise<boolean> {
    this.lookedAt = performance.now()
    try {
      const signal = AbortSignal.any([this.life, AbortSignal.timeout(6000)])
      const master = await fetch(this.url, { signal })
      if (!master.ok) return false
      const found = readQualities(master.url, await master.text())
      const stream = folder()
      if (found.length === 0 || stream === null || !found[0]?.id.startsWith(stream)) return false
      // One that this browser can play may be among those that are new.
      if (this.picture === 'unplayable') return found.length > this.namedPictures
      this.setQualities(found)
    } catch {
      // The next look may do better.
    }
    return false
  }

  private setQualities(qualities: Quality[]): void {
    if (JSON.stringify(qualities) === JSON.stringify(this.qualities)) return
    this.qualities = qualities
    this.events.onQualities(qualities)
  }

  private tellPicture(picture: PictureState): void {
    if (this.picture === picture) return
    this.picture = picture
    this.events.onPicture?.(picture)
  }
}

function hasPicture({ height, videoCodec }: Named): boolean {
  return (height !== undefined && height > 0) || videoCodec !== undefined
}

function levelOf(hls: Hls | null, id: string): number | null {
  const index = hls?.levels.findIndex((level) => playlistPath(level.uri) === id) ?? -1
  return index < 0 ? null : index
}
