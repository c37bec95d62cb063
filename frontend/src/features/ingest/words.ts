import type { I18n, MessageDescriptor } from '@lingui/core'
import { msg } from '@lingui/core/macro'

const takenOver = msg`Another connection of this channel’s encoder has taken over.`

/** Advice and refusals of the ingest, by code. The server's own sentence is the fallback. */
const words: Record<string, MessageDescriptor> = {
  key_frames_far: msg`Key frames are more than 4 s apart, so viewers wait long for the first picture. Set the key-frame interval to 2 s; OBS’s 0 (auto) is 8 s.`,
  frames_missing: msg`Frames are missing although the line keeps up: the encoder leaves some out, or sends fewer than it announces. Choose a faster preset, lower the resolution or the frame rate, or close other programs.`,
  no_audio: msg`There is no sound. Check the audio sources if there should be any.`,
  sound_alone: msg`There is no picture: viewers hear the stream only. If there should be one, check the video source and the video encoder, then start the stream again.`,
  hevc_alone: msg`Most browsers cannot play HEVC, and the server makes no other quality of your stream at the moment: most viewers see nothing. Choose H.264 as the video encoder.`,
  av1_alone: msg`Some players, older iPhones among them, cannot play AV1, and the server makes no other quality of your stream at the moment. Choose H.264 as the video encoder to reach everybody.`,
  bitrate_varies: msg`The bit rate varies a lot, which makes viewers on slow lines stall. Choose CBR as rate control.`,
  silent: msg`Nothing has arrived for some seconds. Check the line; the encoder comes back by itself if it can.`,
  encoder_slow: msg`Your encoder is too slow: it makes the stream more slowly than it plays, and viewers stall. The line is not the reason. Choose a faster preset or a hardware encoder, lower the resolution or the frame rate, or close other programs.`,
  line_stutters: msg`The stream arrives in fits and starts: the line is at its limit. Lower the bit rate, or use a cable instead of Wi-Fi.`,
  sound_apart: msg`Sound and picture are more than half a second apart. Look for an offset in the audio settings, then start the stream again.`,
  key_missing: msg`No stream key was given. Copy it from here into OBS.`,
  key_unknown: msg`The stream key was not known. Copy it from here again.`,
  account_suspended: msg`The account of the channel’s owner is suspended, so nothing can be streamed.`,
  taken_down: msg`An administrator took the stream down.`,
  key_rotated: msg`An old stream key was used. Copy the new one from here.`,
  already_live: msg`A second encoder tried to publish while the first was live.`,
  taken_over: takenOver,
  replaced: takenOver,
  channel_closed: msg`The channel was closed, so nothing can be streamed to it.`,
  address_not_allowed: msg`The server takes no streams from the address of this encoder. Ask whoever runs it.`,
  ended_elsewhere: msg`The server had to end the stream, because its parts lost sight of each other. Start it again.`,
  stream_unknown: msg`The server does not know the stream any more. Start it again.`,
  ended: msg`The server ended the stream. Start it again to go on.`,
  shutdown: msg`The server was being restarted. The encoder may try again.`,
  unavailable: msg`Weir could not check the key. The encoder may try again.`,
  video_codec_unsupported: msg`The picture is in a codec that Weir does not know. Choose an H.264 or AV1 encoder in OBS under Settings, Output.`,
  hevc_not_transcoded: msg`Most browsers cannot play HEVC, and this server makes no other quality of it. Choose an H.264 or AV1 encoder in OBS under Settings, Output.`,
  video_format_unsupported: msg`This kind of picture cannot be played in browsers. Choose 4:2:0 colour and 8 bit: NV12 in OBS.`,
  malformed_video_config: msg`The encoder describes its picture in a way that cannot be read. Start the stream again, or choose another encoder.`,
  malformed_audio_config: msg`The encoder describes its sound in a way that cannot be read. Start the stream again, or choose another encoder.`,
  malformed_media: msg`The encoder sends data that cannot be read. Start the stream again, or choose another encoder.`,
  audio_codec_unsupported: msg`The sound is not AAC. Choose AAC in OBS under Settings, Output.`,
  audio_format_unsupported: msg`This kind of AAC cannot be played in browsers. Choose AAC-LC in stereo.`,
  no_video: msg`A picture was announced, and none arrived. Check the video encoder in OBS.`,
  no_key_frame: msg`No key frame arrived. Set the key-frame interval to 2 s.`,
  video_stopped: msg`No picture came for 8 s. If the encoder sends pictures only when something changes, set it to a constant frame rate; otherwise look why its picture has stopped. Then start the stream again.`,
  bitrate_too_high: msg`The bit rate is higher than this server takes. Lower it in OBS.`,
  erratic_timestamps: msg`The times in the stream jump about. Restart the stream in OBS.`,
  faster_than_real_time: msg`The stream came faster than real time. With ffmpeg, add -re.`,
}

export function describeIngest(remark: { code: string; message: string }, i18n: I18n): string {
  const known = words[remark.code]
  return known === undefined ? remark.message : i18n._(known)
}

const doesNotStart = (encoder: string) =>
  msg`The server’s video encoder (${encoder}) does not start. Until it does, the server’s processor makes as many smaller sizes as it has time for. The server’s log says more.`

/** Why there are no more renditions, or others make them, by code. */
const renditionWords: Record<string, MessageDescriptor> = {
  disabled: msg`This server does not make smaller sizes of streams.`,
  source_small: msg`Your picture is as small as the smallest size that this server makes.`,
  no_picture: msg`Your stream is sound alone: there is no picture to make other sizes of.`,
  starting: msg`Smaller sizes are about to come.`,
  too_slow: msg`The server could not keep up with your stream, so it makes fewer sizes of it. It tries again from time to time; a lower resolution or frame rate needs less.`,
  no_budget: msg`The server is busy with other streams, so it makes fewer sizes of yours. They come as soon as there is room.`,
  ffmpeg_failed: msg`Smaller sizes cannot be made at the moment; it is tried again. Viewers see your stream as you send it.`,
  ffmpeg_missing: msg`Smaller sizes cannot be made because ffmpeg is not installed on the server. Viewers see your stream as you send it.`,
  h264_nvenc_failed: doesNotStart('h264_nvenc'),
  h264_vaapi_failed: doesNotStart('h264_vaapi'),
  h264_qsv_failed: doesNotStart('h264_qsv'),
  custom_encoder_failed: doesNotStart('ladder.encoder_args'),
}

export function describeRenditions(remark: { code: string; message: string }, i18n: I18n): string {
  const known = renditionWords[remark.code]
  return known === undefined ? remark.message : i18n._(known)
}
