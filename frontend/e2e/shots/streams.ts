import {
  channelOf,
  liveChannelOf,
  recordingOf,
  recordingSettingsOf,
  streamOf,
  waiting,
} from '../../src/test/fixtures'
import { minutesAgo, page0 } from './shot'

/** What the API is made to answer for channels, streams and videos. */

export const titles: [string, string][] = [
  ['marina', 'Night shift on the river'],
  ['oksana_paints', 'Painting a whole wall in one go, and answering everything you ask'],
  ['pixel_garden', 'Cellular automata until they die'],
  ['le_petit_atelier', 'Reliure d’un vieux livre, de la couture à la couverture'],
  ['chess_with_pavel', 'Блиц с подписчиками'],
  ['kyiv_synth', 'Модульний синтезатор: нічна імпровізація'],
  ['cook_slow', 'Bread, seven hours of it'],
  ['rowing_club', 'Regatta, heats and finals'],
]
export const liveNow = titles.map(([handle, title], index) =>
  streamOf({
    id: `${index}`,
    handle,
    title,
    started_at: minutesAgo(7 + index * 41),
    thumbnail_url: `/live/${index}/thumbnail.jpg`,
  }),
)
export const offline = [
  'Chess on Sundays',
  'Morning run',
  'Code review, live',
  'Radio without pictures',
  'The aquarium',
].map((title, index) => channelOf({ handle: `offline_${index}`, id: `off-${index}`, title }))
export const key = {
  stream_key: 'live_q7v2m4k9x1c8b3n6',
  rtmp_url: 'rtmp://stream.example.org:1935/live',
  rtmps_url: 'rtmps://stream.example.org:1936/live',
}
export const channelAnswers = {
  'GET channels/marina': channelOf(),
  'GET channels/marina/stream-key': key,
  'GET channels/marina/ingest': waiting,
  'GET channels/marina/recording-settings': recordingSettingsOf(true),
}
export const liveAnswers = {
  'GET channels/marina': liveChannelOf({ thumbnail_url: '/live/0/thumbnail.jpg', live_stream_id: '0' }),
  'GET streams/0': streamOf({ started_at: minutesAgo(94) }),
  'GET streams?live=true': page0(liveNow),
}
export const videos = titles.map(([, title], index) =>
  recordingOf({
    id: `${index}`,
    title,
    duration_ms: 754_000 + index * 1_913_000,
    size_bytes: 420_000_000 + index * 910_000_000,
    started_at: minutesAgo(90 + index * 3_100),
    thumbnail_url: `/vod/${index}/thumbnail.jpg`,
    playback: { hls_url: `/vod/${index}/index.m3u8`, dash_url: null },
  }),
)
export const ownVideos = [
  recordingOf({
    id: '20',
    title: 'Night shift on the river',
    status: 'recording',
    playback: null,
    duration_ms: null,
    size_bytes: null,
    thumbnail_url: null,
    started_at: minutesAgo(12),
  }),
  ...videos.slice(0, 2),
  recordingOf({ ...videos[2], id: '22', visibility: 'unlisted', cut_short: 'storage_full' }),
  recordingOf({
    id: '23',
    title: 'Storm',
    status: 'failed',
    failure: 'storage_full',
    playback: null,
    duration_ms: null,
    size_bytes: null,
    thumbnail_url: null,
    started_at: minutesAgo(9_000),
  }),
]
