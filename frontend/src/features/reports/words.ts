import type { MessageDescriptor } from '@lingui/core'
import { msg } from '@lingui/core/macro'
import type { Schemas } from '@/api/client'

export const kindWords: Record<Schemas['ReportKind'], MessageDescriptor> = {
  copyright: msg`It is somebody else’s work`,
  rules: msg`It breaks the rules`,
  other: msg`Something else`,
}

export const stateWords: Record<Schemas['ReportState'], MessageDescriptor> = {
  open: msg`Not decided yet`,
  dismissed: msg`Nothing had to be done`,
  upheld: msg`The report was right`,
}

export const targetWords: Record<Schemas['ReportedKind'], MessageDescriptor> = {
  stream: msg`Stream`,
  recording: msg`Video`,
  channel: msg`Channel`,
  account: msg`Account`,
}

export const actionWords: Record<Schemas['ReportAction'], MessageDescriptor> = {
  none: msg`Nothing was done`,
  take_down: msg`Taken down`,
  suspend_account: msg`Account suspended`,
}
