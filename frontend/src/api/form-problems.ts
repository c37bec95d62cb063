import type { I18n } from '@lingui/core'
import type { FieldPath, FieldValues, UseFormSetError } from 'react-hook-form'
import { describeFieldError, describeProblem } from './problem-words'
import { ProblemError } from './problem'

/**
 * Puts a refusal's remarks at the fields they point to (`/username`), and a refusal that is about
 * one field by its code there too. Returns whether everything found its field, so that nothing
 * need be said above the form.
 */
export function showAtFields<Values extends FieldValues>(
  error: unknown,
  fields: readonly FieldPath<Values>[],
  byCode: Partial<Record<string, FieldPath<Values>>>,
  setError: UseFormSetError<Values>,
  i18n: I18n,
): boolean {
  if (!(error instanceof ProblemError)) return false
  const field = byCode[error.code]
  if (field !== undefined) {
    setError(field, { message: describeProblem(error, i18n) }, { shouldFocus: true })
    return true
  }
  const remarks = error.errors ?? []
  let shown = 0
  for (const remark of remarks) {
    const name = fields.find((candidate) => remark.pointer === `/${candidate}`)
    if (name === undefined) continue
    setError(name, { message: describeFieldError(remark, i18n) }, { shouldFocus: shown === 0 })
    shown += 1
  }
  return shown > 0 && shown === remarks.length
}
