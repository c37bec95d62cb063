import { Plural, Trans, useLingui } from '@lingui/react/macro'
import { useQuery } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { useState, type SubmitEvent } from 'react'
import { api } from '@/api/client'
import { noProof, ProofFields, sent } from '@/features/accounts/proof-fields'
import { session, type Account } from '@/features/accounts/session'
import { Button } from '@/ui/button'
import { ProblemNotice } from '@/ui/problem-notice'
import { erasureQuery } from './queries'

/** Deletes the account, after a time to think better of it. */
export function DeletePanel({ account }: { account: Account }) {
  const { t } = useLingui()
  const navigate = useNavigate()
  const erasure = useQuery(erasureQuery)
  const erase = api.useMutation('delete', '/api/v1/auth/me')
  const [isSure, setSure] = useState(false)
  const [proof, setProof] = useState(noProof)
  const [isTouched, setTouched] = useState(false)
  const days = erasure.data?.after_days

  async function submit(event: SubmitEvent) {
    event.preventDefault()
    setTouched(true)
    if (proof.password === '') return
    try {
      const scheduled = await erase.mutateAsync({ body: sent(proof) })
      const at = (scheduled as { erased_at?: string } | undefined)?.erased_at
      await navigate({ to: '/settings/deleted', search: at === undefined ? {} : { at }, replace: true })
      session.forget()
    } catch {
      // Shown above the form.
    }
  }

  return (
    <div className="flex flex-col gap-4 text-sm text-soft">
      <p>
        <Trans>What is lost, for good:</Trans>
      </p>
      <ul className="flex list-disc flex-col gap-1 pl-5">
        <li>
          <Trans>your username, e-mail address and profile, everywhere in Weir</Trans>
        </li>
        <li>
          <Trans>
            your channels with their stream keys; their addresses stay taken, so that nobody can pass for you
          </Trans>
        </li>
        <li>
          <Trans>your videos and pictures</Trans>
        </li>
        <li>
          <Trans>your personal tokens and your exports</Trans>
        </li>
      </ul>
      <p>
        {days === undefined ? (
          <Trans>You are signed out everywhere at once.</Trans>
        ) : days === 0 ? (
          <Trans>It happens at once and cannot be undone.</Trans>
        ) : (
          <Plural
            value={days}
            one="You are signed out everywhere at once. The account is deleted after # day; sign in before that, and it stays."
            other="You are signed out everywhere at once. The account is deleted after # days; sign in before that, and it stays."
          />
        )}
      </p>
      {isSure ? (
        <form
          noValidate
          onSubmit={(event) => void submit(event)}
          className="flex max-w-md flex-col gap-4 rounded-lg border bg-raised p-4"
        >
          <ProblemNotice error={erase.error} />
          <ProofFields
            account={account}
            proof={proof}
            onChange={setProof}
            error={isTouched && proof.password === '' ? t`Fill this in.` : undefined}
          />
          <div className="flex flex-wrap gap-3">
            <Button type="submit" kind="danger" isBusy={erase.isPending}>
              <Trans>Delete my account</Trans>
            </Button>
            <Button kind="bare" onClick={() => setSure(false)}>
              <Trans>Keep it</Trans>
            </Button>
          </div>
        </form>
      ) : (
        <Button kind="danger" className="self-start" onClick={() => setSure(true)}>
          <Trans>Delete my account…</Trans>
        </Button>
      )}
    </div>
  )
}
