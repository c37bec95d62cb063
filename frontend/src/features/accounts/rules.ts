import type { I18n } from '@lingui/core'
import { msg } from '@lingui/core/macro'
import { z } from '@/ui/checks'

/** The rules of usernames and handles: told before the server has to refuse. */
export function nameRule(i18n: I18n) {
  return z
    .string()
    .trim()
    .min(1, i18n._(msg`Fill this in.`))
    .regex(/^[a-zA-Z0-9_]*$/, i18n._(msg`Only the letters a–z, digits and _ can be used.`))
    .min(3, i18n._(msg`At least 3 characters.`))
    .max(25, i18n._(msg`At most 25 characters.`))
}
