import { Trans, useLingui } from '@lingui/react/macro'
import { MailCheck } from 'lucide-react'
import { useState, type SubmitEvent } from 'react'
import { toast } from 'sonner'
import { api, type Schemas } from '@/api/client'
import { ProblemError } from '@/api/problem'
import { describeFieldError } from '@/api/problem-words'
import { Button } from '@/ui/button'
import { TextField } from '@/ui/field'
import { Notice } from '@/ui/notice'
import { ProblemNotice } from '@/ui/problem-notice'
import { ConfirmEmailForm } from './confirm-email-form'
import { MailedCodeField, mailLanguage, useCode } from './mailed-code'
import { noProof, ProofFields, sent } from './proof-fields'
import { session, type Account } from './session'

type Step = { at: 'rest' } | { at: 'ask' } | { at: 'codes'; wanted: string; mailed: Schemas['MailedCodes'] }

/** One's address: confirmed or not, and another one. */
export function EmailPanel({ account }: { account: Account }) {
  const { t } = useLingui()
  const [step, setStep] = useState<Step>({ at: 'rest' })
  const rest = () => setStep({ at: 'rest' })

  if (step.at === 'ask') {
    return (
      <AskForm
        account={account}
        onCancel={rest}
        onAsked={(wanted, mailed) => setStep({ at: 'codes', wanted, mailed })}
      />
    )
  }
  if (step.at === 'codes') {
    return (
      <CodesForm
        account={account}
        wanted={step.wanted}
        mailed={step.mailed}
        onCancel={rest}
        onChanged={(changed) => {
          session.change(changed)
          toast.success(t`Your address is changed.`)
          rest()
        }}
      />
    )
  }
  return (
    <div className="flex flex-col items-start gap-4">
      <p className="flex min-w-0 items-center gap-2 text-sm text-text">
        {account.is_email_confirmed && <MailCheck aria-hidden className="size-5 shrink-0 text-accent-text" />}
        <span className="min-w-0 break-words">{account.email}</span>
        <span className="text-faint">
          {account.is_email_confirmed ? <Trans>confirmed</Trans> : <Trans>not confirmed</Trans>}
        </span>
      </p>
      {!account.is_email_confirmed && (
        <>
          <Notice tone="warning" title={<Trans>Confirm your address</Trans>}>
            <Trans>Without a confirmed address nobody can help you when your password is lost.</Trans>
          </Notice>
          <ConfirmEmailForm account={account} />
        </>
      )}
      <Button onClick={() => setStep({ at: 'ask' })}>
        <Trans>Change address</Trans>
      </Button>
    </div>
  )
}

function AskForm({
  account,
  onCancel,
  onAsked,
}: {
  account: Account
  onCancel: () => void
  onAsked: (wanted: string, mailed: Schemas['MailedCodes']) => void
}) {
  const { t, i18n } = useLingui()
  const [wanted, setWanted] = useState('')
  const [proof, setProof] = useState(noProof)
  const [isTouched, setTouched] = useState(false)
  const ask = api.useMutation('post', '/api/v1/auth/email/change')

  const email = wanted.trim()
  const rule = /^[^\s@]+@[^\s@]+$/.test(email) ? undefined : t`This is not an e-mail address.`
  const refused =
    ask.error instanceof ProblemError
      ? ask.error.errors?.find((field) => field.pointer === '/email')
      : undefined

  async function submit(event: SubmitEvent) {
    event.preventDefault()
    setTouched(true)
    if (rule !== undefined || proof.password === '') return
    try {
      const language = mailLanguage(i18n.locale)
      onAsked(email, await ask.mutateAsync({ body: { ...sent(proof), email, language } }))
    } catch {
      // Shown above the form.
    }
  }

  return (
    <form noValidate onSubmit={(event) => void submit(event)} className="flex max-w-md flex-col gap-4">
      {refused === undefined && <ProblemNotice error={ask.error} />}
      <TextField
        label={t`New e-mail address`}
        type="email"
        inputMode="email"
        autoComplete="email"
        maxLength={254}
        value={wanted}
        error={isTouched && rule !== undefined ? rule : refused && describeFieldError(refused, i18n)}
        onChange={(event) => {
          ask.reset()
          setWanted(event.currentTarget.value)
        }}
      />
      <ProofFields
        account={account}
        proof={proof}
        onChange={setProof}
        error={isTouched && proof.password === '' ? t`Fill this in.` : undefined}
      />
      <div className="flex flex-wrap gap-3">
        <Button type="submit" kind="primary" isBusy={ask.isPending}>
          <Trans>Go on</Trans>
        </Button>
        <Button kind="bare" onClick={onCancel}>
          <Trans>Cancel</Trans>
        </Button>
      </div>
    </form>
  )
}

function CodesForm({
  account,
  wanted,
  mailed,
  onCancel,
  onChanged,
}: {
  account: Account
  wanted: string
  mailed: Schemas['MailedCodes']
  onCancel: () => void
  onChanged: (account: Account) => void
}) {
  const { t, i18n } = useLingui()
  const fromNew = useCode()
  const fromPresent = useCode()
  const change = api.useMutation('put', '/api/v1/auth/email/change')
  const { email = '' } = account

  const remarks = change.error instanceof ProblemError ? (change.error.errors ?? []) : []
  const remarkAt = (pointer: string) => {
    const remark = remarks.find((field) => field.pointer === pointer)
    return remark && describeFieldError(remark, i18n)
  }

  async function submit(event: SubmitEvent) {
    event.preventDefault()
    const isNewThere = fromNew.check()
    const isPresentThere = !mailed.needs_present_code || fromPresent.check()
    if (!isNewThere || !isPresentThere) return
    const body = { new_code: fromNew.code }
    try {
      onChanged(
        await change.mutateAsync({
          body: mailed.needs_present_code ? { ...body, present_code: fromPresent.code } : body,
        }),
      )
    } catch {
      // Shown in the form.
    }
  }

  return (
    <form noValidate onSubmit={(event) => void submit(event)} className="flex max-w-md flex-col gap-4">
      {remarks.length === 0 && <ProblemNotice error={change.error} />}
      <p className="text-sm text-soft">
        {mailed.needs_present_code ? (
          <Trans>We mailed a code to each of the two addresses. Enter both.</Trans>
        ) : (
          <Trans>We mailed a code to the new address. Enter it here.</Trans>
        )}
      </p>
      <MailedCodeField
        label={t`Code from the new address`}
        hint={wanted}
        {...fromNew.field}
        error={fromNew.field.error ?? remarkAt('/new_code')}
      />
      {mailed.needs_present_code && (
        <MailedCodeField
          label={t`Code from the present address`}
          hint={email}
          {...fromPresent.field}
          error={fromPresent.field.error ?? remarkAt('/present_code')}
        />
      )}
      <div className="flex flex-wrap gap-3">
        <Button type="submit" kind="primary" isBusy={change.isPending}>
          <Trans>Change address</Trans>
        </Button>
        <Button kind="bare" onClick={onCancel}>
          <Trans>Cancel</Trans>
        </Button>
      </div>
    </form>
  )
}
