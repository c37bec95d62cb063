/** One of the pictures that a stream comes in. */
export interface Quality {
  /** The path of its playlist, which stays the same while others come and go. */
  id: string
  height: number
  frameRate: number
  bitrate: number
}

/** The path of a playlist, without what is asked of it. */
export function playlistPath(url: string): string {
  return new URL(url, globalThis.location.href).pathname
}

/** Reads the qualities with a picture that a master playlist names. */
export function readQualities(url: string, text: string): Quality[] {
  const qualities: Quality[] = []
  let attributes: string | null = null
  for (const line of text.split('\n').map((raw) => raw.trim())) {
    if (line.startsWith('#EXT-X-STREAM-INF:')) {
      attributes = line
    } else if (line !== '' && !line.startsWith('#') && attributes !== null) {
      const height = /RESOLUTION=\d+x(\d+)/.exec(attributes)?.[1]
      // Sound alone is nothing to choose beside pictures.
      if (height !== undefined) {
        qualities.push({
          id: new URL(line, url).pathname,
          height: Number(height),
          frameRate: Number(/FRAME-RATE=([\d.]+)/.exec(attributes)?.[1] ?? 0),
          bitrate: Number(/[:,]BANDWIDTH=(\d+)/.exec(attributes)?.[1] ?? 0),
        })
      }
      attributes = null
    }
  }
  return qualities
}

/** As viewers know it: `720p`, `1080p60`. */
export function qualityName({ height, frameRate }: Quality): string {
  return `${height}p${frameRate > 31 ? String(Math.round(frameRate)) : ''}`
}
