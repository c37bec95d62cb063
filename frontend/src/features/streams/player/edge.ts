import type { LevelDetails } from 'hls.js/light'

/** How far a live playlist has got. */
export interface Edge {
  /** The stream's folder; another one is another stream. */
  stream: string
  /** The number of the last whole segment. */
  lastSegment: number
  /** Parts listed after it. */
  parts: number
}

export type Probe =
  { found: 'edge'; edge: Edge } | { found: 'offline' } | { found: 'denied' } | { found: 'silence' }

/** The folder of a stream, from the address of one of its media playlists. */
export function streamFolder(mediaPlaylistUrl: string): string {
  return new URL('..', mediaPlaylistUrl).pathname
}

/** Reads how far a media playlist has got; `null` when it has no segment or is finished. */
export function readEdge(url: string, text: string): Edge | null {
  let next = 0
  let parts = 0
  let segments = 0
  for (const line of text.split('\n')) {
    if (line.startsWith('#EXT-X-MEDIA-SEQUENCE:')) next = Number(line.slice('#EXT-X-MEDIA-SEQUENCE:'.length))
    else if (line.startsWith('#EXT-X-PART:')) parts += 1
    else if (line.startsWith('#EXT-X-ENDLIST')) return null
    else if (line.startsWith('#EXTINF:')) {
      segments += 1
      parts = 0
    }
  }
  if (segments === 0 && parts === 0) return null
  return { stream: streamFolder(url), lastSegment: next + segments - 1, parts }
}

/** How far a player has followed a stream; `null` while it follows none. */
export function followedEdge(details: LevelDetails | null): Edge | null {
  if (!details?.live) return null
  return {
    stream: streamFolder(new URL(details.url, globalThis.location.href).href),
    lastSegment: details.endSN,
    parts: details.lastPartSn > details.endSN ? details.lastPartIndex + 1 : 0,
  }
}

const timeoutMs = 4000

/**
 * Looks at a channel's stable address, without disturbing the player: is a stream there, and how
 * far has it got?
 */
export async function probe(url: string, signal: AbortSignal): Promise<Probe> {
  try {
    const limited = () =>
      ({ cache: 'no-store', signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]) }) as const
    const master = await fetch(url, limited())
    if (master.status === 404 || master.status === 410) return { found: 'offline' }
    if (isRefusal(master.status)) return { found: 'denied' }
    if (!master.ok) return { found: 'silence' }
    const first = (await master.text())
      .split('\n')
      .map((line) => line.trim())
      .find((line) => line !== '' && !line.startsWith('#'))
    if (first === undefined) return { found: 'silence' }
    const media = await fetch(new URL(first, master.url), limited())
    if (isRefusal(media.status)) return { found: 'denied' }
    if (!media.ok) return { found: media.status === 404 ? 'offline' : 'silence' }
    const edge = readEdge(media.url, await media.text())
    return edge === null ? { found: 'offline' } : { found: 'edge', edge }
  } catch {
    return { found: 'silence' }
  }
}

function isRefusal(status: number): boolean {
  return status === 401 || status === 403
}

/**
 * Whether there is something to play that was not there before. Numbering that starts anew, or
 * jumps forward, counts; the same end of the same stream does not, or its last seconds would be
 * shown again and again.
 */
export function isFresh(edge: Edge, before: Edge | null): boolean {
  if (edge.stream !== before?.stream) return true
  if (edge.lastSegment !== before.lastSegment) {
    return edge.lastSegment > before.lastSegment || edge.lastSegment < before.lastSegment - 2
  }
  return edge.parts > before.parts
}
