/** What can be watched of a stream before now. */
export interface Rewind {
  url: string
  /** How far back it goes. */
  seconds: number
}

const timeoutMs = 4000

/**
 * Looks whether a stream can be rewound, and how far.
 *
 * @param folder the stream's folder, as in `/live/<stream>/`
 * @returns `null` when it cannot: the server keeps nothing of it, or does not answer
 */
export async function findRewind(folder: string, signal: AbortSignal): Promise<Rewind | null> {
  try {
    const limited = () =>
      ({ cache: 'no-store', signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]) }) as const
    const url = new URL('rewind.m3u8', new URL(folder, globalThis.location.href)).href
    const master = await fetch(url, limited())
    if (!master.ok) return null
    const first = (await master.text())
      .split('\n')
      .map((line) => line.trim())
      .find((line) => line !== '' && !line.startsWith('#'))
    if (first === undefined) return null
    const media = await fetch(new URL(first, url), limited())
    if (!media.ok) return null
    const seconds = readLength(await media.text())
    return seconds > 0 ? { url, seconds } : null
  } catch {
    return null
  }
}

/** The length of a media playlist in seconds. */
export function readLength(text: string): number {
  let seconds = 0
  for (const [, duration] of text.matchAll(/^#EXTINF:([\d.]+)/gm)) seconds += Number(duration)
  return seconds
}
