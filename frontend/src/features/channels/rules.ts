import type { I18n } from '@lingui/core'
import { msg } from '@lingui/core/macro'
import { z } from '@/ui/checks'

export function titleRule(i18n: I18n) {
  return z
    .string()
    .trim()
    .min(1, i18n._(msg`Fill this in.`))
    .max(140, i18n._(msg`At most 140 characters.`))
}

export function descriptionRule(i18n: I18n) {
  return z
    .string()
    .trim()
    .max(2000, i18n._(msg`At most 2,000 characters.`))
}
