import type { Schemas } from '../../src/api/client'
import { account, liveIngest } from '../../src/test/fixtures'
import { minutesAgo } from './shot'

/** What the API is made to answer for pages of accounts and administration: long words, long names, every state. */

const day = 24 * 60

const copy: Schemas['PersonalExport'] = {
  id: 'copy',
  status: 'waiting',
  progress: 0,
  size_bytes: null,
  created_at: minutesAgo(1),
  completed_at: null,
  expires_at: null,
  again_at: null,
  error: null,
  error_code: null,
}
const ready: Schemas['PersonalExport'] = {
  ...copy,
  status: 'ready',
  progress: 1,
  size_bytes: 4_523_000,
  completed_at: minutesAgo(1),
  expires_at: minutesAgo(-7 * day),
}

/** A copy of one's data in each of its states. */
export const copies: Record<string, Schemas['PersonalExport']> = {
  waiting: copy,
  running: { ...copy, status: 'running', progress: 0.4 },
  ready,
  again: { ...ready, again_at: minutesAgo(-50) },
  failed: {
    ...copy,
    status: 'failed',
    error: 'The server has no room left for the file. Tell whoever runs it, and ask again later.',
    error_code: 'storage_full',
  },
}

const film: Schemas['ReportedThing'] = {
  kind: 'recording',
  id: 'video',
  handle: 'noor_of_the_long_canal_25',
  title: 'Regatta, heats and finals, with the whole crew and everybody who stood on the bridge',
  owner: { id: 'noor', username: 'noor_of_the_long_canal' },
}
const report: Schemas['Report'] = {
  id: 'report',
  target: film,
  kind: 'copyright',
  text: 'Це мій фільм: його можна знайти тут.\nhttps://films.example.org/quiet-river/2019/a-very-long-name-without-any-space-in-it.html',
  at_ms: 754_000,
  state: 'open',
  answer: null,
  created_at: minutesAgo(70),
  decided_at: null,
}
const decided = { decided_at: minutesAgo(20) }

/** What one has reported. */
export const reports: Schemas['Report'][] = [
  report,
  {
    ...report,
    ...decided,
    id: 'upheld',
    kind: 'rules',
    state: 'upheld',
    answer: 'Дякуємо. Відео більше немає.',
  },
  {
    ...report,
    ...decided,
    id: 'dismissed',
    kind: 'other',
    text: 'Too loud',
    target: { ...film, kind: 'account', handle: null, title: null },
    state: 'dismissed',
  },
]

const open: Schemas['QueuedReport'] = {
  ...report,
  is_owner_suspended: false,
  reporter: { id: 'mira', username: 'mira' },
  action: null,
  decided_by: null,
}

/** What administrators have to read. */
export const queued: Schemas['QueuedReport'][] = [
  open,
  { ...open, id: 'channel', target: { ...film, kind: 'channel' }, kind: 'rules', is_owner_suspended: true },
  { ...open, id: 'wordless', target: { ...film, kind: 'stream' }, kind: 'other', text: null, at_ms: null },
  {
    ...open,
    ...decided,
    id: 'decided',
    state: 'upheld',
    action: 'take_down',
    decided_by: 'keeper',
    answer: 'Thank you. It is gone.',
  },
]

/** Links by which accounts can be made. */
export const registrationInvites: Schemas['RegistrationInvite'][] = [
  { id: 'one', max_uses: 1, uses: 0, created_at: minutesAgo(2), expires_at: minutesAgo(-7 * day) },
  { id: 'many', max_uses: 250, uses: 117, created_at: minutesAgo(30 * day), expires_at: null },
]

const reason =
  'Три рази показано чужий фільм, попри два попередження.\nНапишіть на abuse@a-very-long-host-name.stream.example.org, якщо це не так.'
const administered: Schemas['AdministeredAccount'] = {
  id: 'noor',
  username: 'noor_of_the_long_canal',
  is_administrator: false,
  has_second_factor: true,
  channel_count: 3,
  created_at: minutesAgo(200 * day),
  suspension: null,
}

/** Who is kept out, as they are told and as administrators see it. */
export const suspended = {
  notices: {
    week: { reason, until: minutesAgo(-7 * day) },
    open: { reason, until: null },
  },
  accounts: [
    { ...administered, id: account.id, username: account.username, is_administrator: true },
    {
      ...administered,
      suspension: { reason, suspended_at: minutesAgo(3 * day), until: minutesAgo(-4 * day), by: 'keeper' },
    },
    {
      ...administered,
      id: 'open',
      suspension: { reason: 'Spam', suspended_at: minutesAgo(day), until: null, by: null },
    },
    { ...administered, id: 'mira', username: 'mira', has_second_factor: false, channel_count: 0 },
  ] satisfies Schemas['AdministeredAccount'][],
}

/** An encoder that cannot keep up. */
export const slowIngest: Schemas['IngestStatus'] = {
  ...liveIngest,
  connected_since: minutesAgo(94),
  frame_rate: 21.4,
  jitter_ms: 380,
  missing_frames: 3,
  history: liveIngest.history.map((sample, second) => ({
    ...sample,
    bitrate_kbps: sample.bitrate_kbps - second * 20,
    frame_rate: 30 - second / 7,
    jitter_ms: 40 + second * 6,
  })),
  renditions: [],
  renditions_remark: { code: 'no_budget', message: '' },
  advice: [
    { code: 'encoder_slow', message: '' },
    { code: 'frames_missing', message: '' },
  ],
}
