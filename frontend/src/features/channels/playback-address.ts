import { useEffect, useState } from 'react'
import { ownAddress } from '@/api/own-address'
import type { SourceState } from '@/features/streams/player/source-state'
import type { Channel } from './queries'

/** An address with a token is good for eleven hours or more; it is replaced well before. */
const renewedAfterMs = 10 * 3_600_000

interface Taken {
  url: string
  visibility: Channel['visibility']
  isOld: boolean
}

function take(channel: Channel): Taken {
  return { url: channel.playback.hls_url, visibility: channel.visibility, isOld: false }
}

/**
 * Where the player finds the channel. The server names a new address every hour for a channel that
 * is not public; the player keeps the one that it has, since another one makes it load anew, until
 * it grows old, others may watch than before, or it is refused.
 */
export function usePlaybackAddress(channel: Channel, playing: SourceState | null): string {
  const [taken, setTaken] = useState(() => take(channel))
  useEffect(() => {
    const timer = setTimeout(() => setTaken((now) => ({ ...now, isOld: true })), renewedAfterMs)
    return () => clearTimeout(timer)
  }, [taken.url])
  const isSame = taken.url === channel.playback.hls_url
  const isStale =
    channel.visibility !== taken.visibility ||
    channel.visibility === 'public' ||
    playing === null ||
    playing === 'denied' ||
    taken.isOld
  if (!isSame && isStale) setTaken(take(channel))
  return ownAddress(taken.url)
}
