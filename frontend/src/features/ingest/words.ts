import type { I18n, MessageDescriptor } from '@lingui/core'
import { msg } from '@lingui/core/macro'

/** Advice and refusals of the ingest, by code. The server's own sentence is the fallback. */
const words: Record<string, MessageDescriptor> = {
  key_frames_far: msg`Key frames are more than 4 s apart, so viewers wait long for the first picture. Set the key-frame interval to 2 s; OBS’s 0 (auto) is 8 s.`,
  frames_missing: msg`Fewer frames arrive than the encoder announces. Lower the resolution, the frame rate or the bit rate, or close other programs.`,
  no_audio: msg`There is no sound. Check the audio sources if there should be any.`,
  bitrate_varies: msg`The bit rate varies a lot, which makes viewers on slow lines stall. Choose CBR as rate control.`,
  key_missing: msg`No stream key was given. Copy it from here into OBS.`,
  key_unknown: msg`The stream key was not known. Copy it from here again.`,
  key_rotated: msg`An old stream key was used. Copy the new one from here.`,
  already_live: msg`A second encoder tried to publish while the first was live.`,
  taken_over: msg`Another connection of this channel’s encoder has taken over.`,
  shutdown: msg`The server was being restarted. The encoder may try again.`,
  unavailable: msg`Weir could not check the key. The encoder may try again.`,
  video_codec_unsupported: msg`The picture is not H.264. Choose an H.264 encoder in OBS under Settings, Output.`,
  video_format_unsupported: msg`This kind of H.264 cannot be played in browsers. Choose the profile “high” and 4:2:0 colour, 8 bit.`,
  audio_codec_unsupported: msg`The sound is not AAC. Choose AAC in OBS under Settings, Output.`,
  audio_format_unsupported: msg`This kind of AAC cannot be played in browsers. Choose AAC-LC in stereo.`,
  no_video: msg`Only sound arrived. Add a picture in OBS.`,
  no_key_frame: msg`No key frame arrived. Set the key-frame interval to 2 s.`,
  video_stopped: msg`The picture stopped while the sound went on. Restart the stream in OBS.`,
  bitrate_too_high: msg`The bit rate is higher than this server takes. Lower it in OBS.`,
  erratic_timestamps: msg`The times in the stream jump about. Restart the stream in OBS.`,
  faster_than_real_time: msg`The stream came faster than real time. With ffmpeg, add -re.`,
}

export function describeIngest(remark: { code: string; message: string }, i18n: I18n): string {
  const known = words[remark.code]
  return known === undefined ? remark.message : i18n._(known)
}
