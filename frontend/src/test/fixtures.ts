import type { Schemas } from '@/api/client'

type Channel = Schemas['Channel']
type Stream = Schemas['Stream']
type IngestStatus = Schemas['IngestStatus']

export const account: Schemas['Account'] = {
  id: '0193a1f0-0000-7000-8000-000000000001',
  username: 'marina',
  email: 'marina@example.org',
  is_email_confirmed: true,
  is_administrator: false,
  has_second_factor: false,
  created_at: '2026-11-02T09:00:00Z',
  updated_at: '2026-11-02T09:00:00Z',
  version: 1,
}

export const profile: Schemas['Profile'] = {
  id: account.id,
  username: account.username,
  display_name: null,
  bio: '',
  avatar: null,
  updated_at: '2026-11-02T09:00:00Z',
  version: 0,
}

export const signedIn: Schemas['SignedIn'] = { account, access_token: 'a-token', expires_in: 900 }

export function channelOf(changes: Partial<Channel> = {}): Channel {
  const handle = changes.handle ?? 'marina'
  return {
    id: `channel-of-${handle}`,
    handle,
    title: 'Night shift on the river',
    description: 'A camera above the old weir, with the sound of the water.\nMost nights from nine.',
    owner: { id: account.id, username: account.username, display_name: null, avatar: null },
    standing: null,
    visibility: 'public',
    is_live: false,
    live_stream_id: null,
    reconnect_grace_seconds: 60,
    playback: {
      hls_url: `http://weir.test/live/channels/channel-of-${handle}/index.m3u8`,
      dash_url: `http://weir.test/live/channels/channel-of-${handle}/index.mpd`,
    },
    thumbnail_url: null,
    created_at: '2026-11-02T09:05:00Z',
    updated_at: '2026-11-02T09:05:00Z',
    version: 3,
    ...changes,
  }
}

export function liveChannelOf(changes: Partial<Channel> = {}): Channel {
  const handle = changes.handle ?? 'marina'
  return channelOf({
    is_live: true,
    live_stream_id: `stream-of-${handle}`,
    thumbnail_url: `/live/stream-of-${handle}/thumbnail.jpg`,
    ...changes,
  })
}

export function streamOf(changes: Partial<Stream> & { handle?: string } = {}): Stream {
  const { handle = 'marina', ...rest } = changes
  const title = rest.title ?? 'Night shift on the river'
  return {
    id: `stream-of-${handle}`,
    channel: { id: `channel-of-${handle}`, handle, title },
    title,
    is_live: true,
    started_at: '2026-11-21T08:00:00Z',
    ended_at: null,
    end_reason: null,
    duration_ms: null,
    video: { codec: 'H.264', width: 1920, height: 1080, frame_rate: 30 },
    audio: { codec: 'AAC', sample_rate: 48_000, channels: 2 },
    encoder: 'obs-output module (libobs version 32.0.1)',
    renditions: [],
    renditions_reason: null,
    playback: {
      hls_url: `/live/stream-of-${handle}/index.m3u8`,
      dash_url: `/live/stream-of-${handle}/index.mpd`,
    },
    thumbnail_url: `/live/stream-of-${handle}/thumbnail.jpg`,
    created_at: '2026-11-21T08:00:00Z',
    updated_at: '2026-11-21T08:00:00Z',
    ...rest,
  }
}

export const waiting: IngestStatus = {
  state: 'waiting',
  stream_id: null,
  connected_since: null,
  video: null,
  audio: null,
  encoder: null,
  bitrate_kbps: null,
  keyframe_interval_ms: null,
  frame_rate: null,
  jitter_ms: null,
  missing_frames: null,
  sound_ahead_ms: null,
  silent_ms: null,
  waits_ms: null,
  history: [],
  renditions: [],
  renditions_remark: null,
  advice: [],
  last_refusal: null,
}

export const liveIngest: IngestStatus = {
  state: 'live',
  stream_id: 'stream-of-marina',
  connected_since: '2026-11-21T08:00:00Z',
  video: { codec: 'H.264', width: 1920, height: 1080, frame_rate: 30 },
  audio: { codec: 'AAC', sample_rate: 48_000, channels: 2 },
  encoder: 'obs-output module (libobs version 32.0.1)',
  bitrate_kbps: 4512,
  keyframe_interval_ms: 2000,
  frame_rate: 29.97,
  jitter_ms: 42,
  missing_frames: 0,
  sound_ahead_ms: -18,
  silent_ms: 12,
  waits_ms: null,
  history: Array.from({ length: 60 }, (_, second) => ({
    bitrate_kbps: 4450 + Math.round(120 * Math.sin(second / 4)),
    frame_rate: 29.97,
    jitter_ms: 30 + (second % 7) * 4,
    missing_frames: 0,
  })),
  renditions: [
    { name: '720p', width: 1280, height: 720, frame_rate: 29.97, bitrate_kbps: 2800, lag_ms: 640 },
    { name: '480p', width: 854, height: 480, frame_rate: 29.97, bitrate_kbps: 1200, lag_ms: 610 },
  ],
  renditions_remark: null,
  advice: [],
  last_refusal: null,
}

export function problem(
  status: number,
  code: string,
  more: Partial<Schemas['Problem']> = {},
): Schemas['Problem'] {
  return { type: 'about:blank', title: code, status, code, request_id: 'req-7f3a', ...more }
}

export function recordingOf(changes: Partial<Schemas['Recording']> = {}): Schemas['Recording'] {
  const id = changes.id ?? 'first'
  return {
    id,
    stream_id: 'stream',
    channel: { id: 'channel-of-marina', handle: 'marina', title: 'Night shift on the river' },
    title: 'Night shift on the river',
    status: 'ready',
    visibility: 'published',
    is_download_allowed: false,
    duration_ms: 754_000,
    size_bytes: 1_200_000_000,
    renditions: [],
    gap_count: 0,
    cut_short: null,
    failure: null,
    playback: { hls_url: `http://weir.test/vod/${id}/index.m3u8`, dash_url: null },
    thumbnail_url: `/vod/${id}/thumbnail.jpg`,
    seek_thumbnails_url: `/vod/${id}/sheets/index.vtt`,
    download_url: null,
    started_at: '2026-11-20T20:00:00Z',
    published_at: '2026-11-20T20:12:35Z',
    updated_at: '2026-11-20T20:12:35Z',
    version: 2,
    ...changes,
  }
}

export function recordingSettingsOf(isOn: boolean): Schemas['RecordingSettings'] {
  return {
    is_on: isOn,
    own_limits: { keep_days: null, max_size_bytes: null, max_count: null },
    server_limits: { keep_days: 90, max_size_bytes: 100_000_000_000, max_count: 500 },
    usage: { count: 1, size_bytes: 1_200_000_000 },
  }
}
