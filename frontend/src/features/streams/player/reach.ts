/** How far ahead a picture is there, in seconds of the stream; `null` when there is none. */
export function lastBuffered({ buffered }: HTMLVideoElement): number | null {
  return buffered.length === 0 ? null : buffered.end(buffered.length - 1)
}

/** How far back the playlist goes, in seconds of the stream. */
export function firstSeekable({ seekable }: HTMLVideoElement): number {
  return seekable.length === 0 ? 0 : seekable.start(0)
}
