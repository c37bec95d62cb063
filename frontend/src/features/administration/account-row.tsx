import { Plural, Trans, useLingui } from '@lingui/react/macro'
import { useQueryClient } from '@tanstack/react-query'
import { useId, useState, type SubmitEvent } from 'react'
import { toast } from 'sonner'
import { api } from '@/api/client'
import { useSession } from '@/features/accounts/session'
import { Button } from '@/ui/button'
import { Question } from '@/ui/dialog'
import { ProblemNotice } from '@/ui/problem-notice'
import { AdministratorButton } from './administrator-button'
import { accountsKey, type AdministeredAccount } from './queries'
import { noSuspension, SuspensionFields, suspensionOf } from './suspension-fields'

/** One account, and whether it is kept out. */
export function AccountRow({ account }: { account: AdministeredAccount }) {
  const { t, i18n } = useLingui()
  const state = useSession()
  const queryClient = useQueryClient()
  const reinstate = api.useMutation('delete', '/api/v1/admin/accounts/{id}/suspension')
  const [isAsking, setAsking] = useState(false)
  const { username, suspension } = account
  const isOwn = state.status === 'signed-in' && state.account.id === account.id
  const since = new Date(account.created_at).toLocaleDateString(i18n.locale, { dateStyle: 'medium' })
  const params = { path: { id: account.id } }

  async function lift() {
    try {
      await reinstate.mutateAsync({ params })
    } catch {
      // Shown in the row.
      return
    }
    toast.success(t`${username} can sign in again.`)
    await queryClient.invalidateQueries({ queryKey: accountsKey })
  }

  return (
    <li className="flex flex-wrap items-start gap-x-4 gap-y-3 p-4">
      <div className="min-w-0 grow basis-56">
        <p className="flex flex-wrap items-center gap-x-2 text-sm font-medium text-text">
          {username}
          {account.is_administrator && (
            <span className="rounded-sm bg-accent-wash px-2 py-0.5 text-xs font-medium text-accent-text">
              <Trans>Administrator</Trans>
            </span>
          )}
          {suspension !== null && (
            <span className="rounded-sm bg-danger-wash px-2 py-0.5 text-xs font-medium text-danger">
              <Trans>Suspended</Trans>
            </span>
          )}
        </p>
        <p className="mt-0.5 text-xs text-faint">
          <Plural value={account.channel_count} one="# channel" other="# channels" />
          {' · '}
          <Trans>since {since}</Trans>
          {account.has_second_factor && (
            <>
              {' · '}
              <Trans>with an authenticator</Trans>
            </>
          )}
        </p>
        {suspension !== null && <Held suspension={suspension} />}
        {reinstate.error !== null && (
          <div className="mt-3">
            <ProblemNotice error={reinstate.error} />
          </div>
        )}
      </div>
      {suspension !== null && (
        <Button
          onClick={() => void lift()}
          isBusy={reinstate.isPending}
          aria-label={t`Reinstate ${username}`}
        >
          <Trans>Reinstate</Trans>
        </Button>
      )}
      <AdministratorButton account={account} />
      {!isOwn && (
        <Button
          kind={suspension === null ? 'danger' : 'bare'}
          onClick={() => setAsking(true)}
          aria-label={suspension === null ? t`Suspend ${username}` : t`Change the suspension of ${username}`}
        >
          {suspension === null ? <Trans>Suspend</Trans> : <Trans>Change</Trans>}
        </Button>
      )}
      {isAsking && <SuspendDialog account={account} onClose={() => setAsking(false)} />}
    </li>
  )
}

function Held({ suspension }: { suspension: NonNullable<AdministeredAccount['suspension']> }) {
  const { i18n } = useLingui()
  const by = suspension.by ?? 'Weir'
  const from = new Date(suspension.suspended_at).toLocaleDateString(i18n.locale, { dateStyle: 'medium' })
  const until =
    suspension.until === null
      ? null
      : new Date(suspension.until).toLocaleString(i18n.locale, { dateStyle: 'medium', timeStyle: 'short' })
  return (
    <div className="mt-2 max-w-prose text-sm text-soft">
      <p className="break-words whitespace-pre-line">{suspension.reason}</p>
      <p className="mt-1 text-xs text-faint">
        {until === null ? (
          <Trans>
            by {by} on {from}, until somebody lifts it
          </Trans>
        ) : (
          <Trans>
            by {by} on {from}, until {until}
          </Trans>
        )}
      </p>
    </div>
  )
}

function SuspendDialog({ account, onClose }: { account: AdministeredAccount; onClose: () => void }) {
  const { t } = useLingui()
  const queryClient = useQueryClient()
  const formId = useId()
  const suspend = api.useMutation('put', '/api/v1/admin/accounts/{id}/suspension')
  const [draft, setDraft] = useState({ ...noSuspension, reason: account.suspension?.reason ?? '' })
  const [isTouched, setTouched] = useState(false)
  const { username } = account

  async function submit(event: SubmitEvent) {
    event.preventDefault()
    setTouched(true)
    if (draft.reason.trim() === '') return
    try {
      await suspend.mutateAsync({ params: { path: { id: account.id } }, body: suspensionOf(draft) })
    } catch {
      // Shown above the form.
      return
    }
    onClose()
    toast.success(t`${username} is suspended.`)
    await queryClient.invalidateQueries({ queryKey: accountsKey })
  }

  return (
    <Question
      open
      onOpenChange={(open) => {
        if (!open) onClose()
      }}
      title={<Trans>Suspend {username}</Trans>}
      form={
        <form id={formId} noValidate onSubmit={(event) => void submit(event)} className="flex flex-col gap-5">
          <ProblemNotice error={suspend.error} />
          <SuspensionFields value={draft} onChange={setDraft} isTouched={isTouched} />
        </form>
      }
      footer={
        <>
          <Button kind="bare" onClick={onClose}>
            <Trans>Cancel</Trans>
          </Button>
          <Button type="submit" form={formId} kind="danger" isBusy={suspend.isPending}>
            <Trans>Suspend</Trans>
          </Button>
        </>
      }
    >
      <p>
        <Trans>
          They are signed out everywhere, their personal tokens are revoked, their streams end, and their
          channels and videos are hidden until it is over.
        </Trans>
      </p>
    </Question>
  )
}
