import { Trans, useLingui } from '@lingui/react/macro'
import { KeyRound } from 'lucide-react'
import { useState, type SubmitEvent } from 'react'
import { api } from '@/api/client'
import { ProblemError } from '@/api/problem'
import { noProof, ProofFields, sent, type Proof } from '@/features/accounts/proof-fields'
import { useSession } from '@/features/accounts/session'
import { Button } from '@/ui/button'
import { ProblemNotice } from '@/ui/problem-notice'

/** Whether a refusal means that one has to show again who one is. */
export function needsProof(error: unknown): boolean {
  return error instanceof ProblemError && error.code === 'reauthentication_required'
}

/** Shows the server who has the session. */
export function useProof() {
  const prove = api.useMutation('post', '/api/v1/auth/session/proof')
  return {
    error: prove.error,
    isPending: prove.isPending,
    reset: prove.reset,
    prove: (proof: Proof) => prove.mutateAsync({ body: sent(proof) }),
  }
}

/** What stands in place of a secret until it is shown again who is there. */
export function ProveForm({ onProved }: { onProved: () => Promise<unknown> }) {
  const { t } = useLingui()
  const state = useSession()
  const { prove, error, isPending } = useProof()
  const [proof, setProof] = useState(noProof)
  const [isTouched, setTouched] = useState(false)
  const [isShowing, setShowing] = useState(false)
  if (state.status !== 'signed-in') return null

  async function submit(event: SubmitEvent) {
    event.preventDefault()
    setTouched(true)
    if (proof.password === '') return
    try {
      await prove(proof)
    } catch {
      // Shown above the form.
      return
    }
    setShowing(true)
    await onProved()
    setShowing(false)
  }

  return (
    <form noValidate onSubmit={(event) => void submit(event)} className="flex flex-col gap-4">
      <p className="flex items-start gap-3 text-sm text-soft">
        <KeyRound aria-hidden className="mt-0.5 size-5 shrink-0 text-faint" />
        <Trans>
          Whoever has the stream key can publish on your channel. You signed in a while ago, so enter your
          password to see it.
        </Trans>
      </p>
      <ProblemNotice error={error} />
      <ProofFields
        account={state.account}
        proof={proof}
        onChange={setProof}
        error={isTouched && proof.password === '' ? t`Fill this in.` : undefined}
      />
      <Button type="submit" kind="primary" className="self-start" isBusy={isPending || isShowing}>
        <Trans>Show the stream key</Trans>
      </Button>
    </form>
  )
}
