import { Trans, useLingui } from '@lingui/react/macro'
import { useQueryClient } from '@tanstack/react-query'
import { useState, type SubmitEvent } from 'react'
import { toast } from 'sonner'
import { api } from '@/api/client'
import { ProblemError } from '@/api/problem'
import { describeFieldError } from '@/api/problem-words'
import { Button } from '@/ui/button'
import { TextField } from '@/ui/field'
import { ProblemNotice } from '@/ui/problem-notice'
import { noProof, ProofFields, sent } from './proof-fields'
import { sessionsKey } from './queries'
import type { Account } from './session'

export function PasswordForm({ account }: { account: Account }) {
  const { t, i18n } = useLingui()
  const queryClient = useQueryClient()
  const [proof, setProof] = useState(noProof)
  const [wanted, setWanted] = useState('')
  const [endsOthers, setEndsOthers] = useState(true)
  const [isTouched, setTouched] = useState(false)
  const change = api.useMutation('put', '/api/v1/auth/password')

  const refused =
    change.error instanceof ProblemError
      ? change.error.errors?.find((field) => field.pointer === '/new_password')
      : undefined
  const rule = wanted.length < 8 ? t`At least 8 characters.` : undefined
  const wantedError = isTouched && rule !== undefined ? rule : refused && describeFieldError(refused, i18n)

  async function submit(event: SubmitEvent) {
    event.preventDefault()
    setTouched(true)
    if (rule !== undefined || proof.password === '') return
    try {
      await change.mutateAsync({
        body: { ...sent(proof), new_password: wanted, end_other_sessions: endsOthers },
      })
    } catch {
      return
    }
    setProof(noProof)
    setWanted('')
    setTouched(false)
    void queryClient.invalidateQueries({ queryKey: sessionsKey })
    toast.success(t`Your password is changed.`)
  }

  return (
    <form noValidate onSubmit={(event) => void submit(event)} className="flex max-w-md flex-col gap-4">
      {refused === undefined && <ProblemNotice error={change.error} />}
      {/* Password managers want to know whose it is. */}
      <input
        type="text"
        aria-label={t`Username`}
        autoComplete="username"
        value={account.username}
        readOnly
        hidden
      />
      <ProofFields
        account={account}
        proof={proof}
        onChange={setProof}
        passwordLabel={t`Present password`}
        error={isTouched && proof.password === '' ? t`Fill this in.` : undefined}
      />
      <TextField
        label={t`New password`}
        hint={t`8 to 128 characters; a few words in a row are good.`}
        type="password"
        autoComplete="new-password"
        maxLength={128}
        value={wanted}
        error={wantedError}
        onChange={(event) => {
          change.reset()
          setWanted(event.currentTarget.value)
        }}
      />
      <label className="flex items-center gap-3 text-sm text-text">
        <input
          type="checkbox"
          checked={endsOthers}
          onChange={(event) => setEndsOthers(event.currentTarget.checked)}
          className="size-4 accent-accent-text"
        />
        <Trans>Sign out all other devices, and revoke personal tokens</Trans>
      </label>
      <Button type="submit" kind="primary" className="self-start" isBusy={change.isPending}>
        <Trans>Change password</Trans>
      </Button>
    </form>
  )
}
