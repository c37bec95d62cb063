import { useLingui } from '@lingui/react/macro'
import { describeProblem } from '@/api/problem-words'
import { Notice } from './notice'

/** A refused or failed act, said above its form. */
export function ProblemNotice({ error }: { error: unknown }) {
  const { i18n } = useLingui()
  if (error === null || error === undefined) return null
  return <Notice tone="danger" role="alert" title={describeProblem(error, i18n)} />
}
