import type { I18n, MessageDescriptor } from '@lingui/core'
import { msg } from '@lingui/core/macro'

/** Advice and refusals of the ingest, by code. The server's own sentence is the fallback. */
const words: Record<string, MessageDescriptor> = {
  keyframe_interval_long: msg`Key frames come too rarely. Set the key-frame interval to 2 s in OBS, or viewers wait longer for the picture.`,
  bitrate_high: msg`The bit rate is high. Viewers on slow connections will see stalls; 2,500 to 6,000 kbit/s suits most.`,
  bitrate_low: msg`The bit rate is low for this size of picture. Raise it, or send a smaller picture.`,
  no_audio: msg`There is no sound in what the encoder sends.`,
  key_unknown: msg`The stream key was not known. Copy it from here again.`,
  key_rotated: msg`An old stream key was used. Copy the new one from here.`,
  already_live: msg`A second encoder tried to publish while this channel was live.`,
  codec_unsupported: msg`The encoder sent something other than H.264 and AAC. Choose these in OBS under Settings, Output.`,
}

export function describeIngest(remark: { code: string; message: string }, i18n: I18n): string {
  const known = words[remark.code]
  return known === undefined ? remark.message : i18n._(known)
}
