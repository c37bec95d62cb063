import { late } from '@/ui/late'

/** The player of recordings: a large piece of code, and only the page of a recording needs it. */
export const LateRecordingPlayer = late(() =>
  import('./recording-player').then(({ RecordingPlayer }) => RecordingPlayer),
)
