/** A codec as people call it, from its name in RFC 6381 (`avc1.64001f`). */
export function codecName(codec: string): string {
  if (/^avc[13]/.test(codec)) return 'H.264'
  if (/^(hvc|hev)1/.test(codec)) return 'HEVC'
  if (codec.startsWith('av01')) return 'AV1'
  if (codec.startsWith('mp4a.40')) return 'AAC'
  if (codec === 'opus') return 'Opus'
  return codec
}
