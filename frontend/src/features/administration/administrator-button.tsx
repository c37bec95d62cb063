import { Trans, useLingui } from '@lingui/react/macro'
import { useQueryClient } from '@tanstack/react-query'
import { useId, useState, type SubmitEvent } from 'react'
import { toast } from 'sonner'
import { api } from '@/api/client'
import { noProof, ProofFields, sent } from '@/features/accounts/proof-fields'
import { useSession } from '@/features/accounts/session'
import { Button } from '@/ui/button'
import { Question } from '@/ui/dialog'
import { ProblemNotice } from '@/ui/problem-notice'
import { accountsKey, type AdministeredAccount } from './queries'

/** Makes somebody an administrator, or unmakes one. */
export function AdministratorButton({ account }: { account: AdministeredAccount }) {
  const { t } = useLingui()
  const [isAsking, setAsking] = useState(false)
  const { username, is_administrator: isAdministrator, suspension } = account
  // Who is kept out cannot become one.
  if (!isAdministrator && suspension !== null) return null
  return (
    <>
      <Button
        kind="bare"
        onClick={() => setAsking(true)}
        aria-label={isAdministrator ? t`Take the right: ${username}` : t`Make administrator: ${username}`}
      >
        {isAdministrator ? <Trans>Take the right</Trans> : <Trans>Make administrator</Trans>}
      </Button>
      {isAsking && <AdministratorDialog account={account} onClose={() => setAsking(false)} />}
    </>
  )
}

function AdministratorDialog({ account, onClose }: { account: AdministeredAccount; onClose: () => void }) {
  const { t } = useLingui()
  const state = useSession()
  const queryClient = useQueryClient()
  const formId = useId()
  const grant = api.useMutation('put', '/api/v1/admin/accounts/{id}/administrator')
  const revoke = api.useMutation('delete', '/api/v1/admin/accounts/{id}/administrator')
  const [proof, setProof] = useState(noProof)
  const [isTouched, setTouched] = useState(false)
  const { username, is_administrator: isAdministrator } = account
  const change = isAdministrator ? revoke : grant
  if (state.status !== 'signed-in') return null
  const isOwn = state.account.id === account.id

  async function submit(event: SubmitEvent) {
    event.preventDefault()
    setTouched(true)
    if (proof.password === '') return
    try {
      await change.mutateAsync({ params: { path: { id: account.id } }, body: sent(proof) })
    } catch {
      // Shown above the form.
      return
    }
    onClose()
    toast.success(
      isAdministrator
        ? t`${username} is no administrator any more.`
        : t`${username} is an administrator now.`,
    )
    await queryClient.invalidateQueries({ queryKey: accountsKey })
  }

  return (
    <Question
      open
      onOpenChange={(open) => {
        if (!open) onClose()
      }}
      title={
        isAdministrator ? (
          <Trans>Take the right to administer from {username}?</Trans>
        ) : (
          <Trans>Make {username} an administrator?</Trans>
        )
      }
      form={
        <form id={formId} noValidate onSubmit={(event) => void submit(event)} className="flex flex-col gap-5">
          <ProblemNotice error={change.error} />
          <ProofFields
            account={state.account}
            proof={proof}
            onChange={setProof}
            error={isTouched && proof.password === '' ? t`Fill this in.` : undefined}
          />
        </form>
      }
      footer={
        <>
          <Button kind="bare" onClick={onClose}>
            <Trans>Cancel</Trans>
          </Button>
          <Button
            type="submit"
            form={formId}
            kind={isAdministrator ? 'danger' : 'primary'}
            isBusy={change.isPending}
          >
            {isAdministrator ? <Trans>Take the right</Trans> : <Trans>Make administrator</Trans>}
          </Button>
        </>
      }
    >
      <p>
        {isAdministrator ? (
          isOwn ? (
            <Trans>
              You are signed out everywhere and your personal tokens are revoked. Sign in again to go on as
              everybody else does.
            </Trans>
          ) : (
            <Trans>
              They are signed out everywhere and their personal tokens are revoked. They can sign in again, as
              everybody else does.
            </Trans>
          )
        ) : (
          <Trans>
            They can do all that you can: see all accounts and events, decide reports, suspend people, and
            make and unmake administrators, you included.
          </Trans>
        )}
      </p>
    </Question>
  )
}
