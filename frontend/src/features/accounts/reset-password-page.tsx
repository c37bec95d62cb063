import { Trans, useLingui } from '@lingui/react/macro'
import { Link, useLocation, useNavigate } from '@tanstack/react-router'
import { useState, type SubmitEvent } from 'react'
import { toast } from 'sonner'
import { api } from '@/api/client'
import { ProblemError } from '@/api/problem'
import { describeFieldError } from '@/api/problem-words'
import { Button } from '@/ui/button'
import { TextField } from '@/ui/field'
import { Notice } from '@/ui/notice'
import { ProblemNotice } from '@/ui/problem-notice'
import { Gate } from './gate'
import { MailedCodeField, useCode } from './mailed-code'
import { CodeField } from './proof-fields'
import { session } from './session'

/** For who has lost their password: a code by mail, then another password. */
export function ResetPasswordPage() {
  const { t } = useLingui()
  // A link brings the code after the #, so that it is sent to nobody but the API.
  const given = useLocation({ select: (location) => location.hash })
  const [account, setAccount] = useState('')
  const [step, setStep] = useState<'ask' | 'choose'>(given === '' ? 'ask' : 'choose')

  return (
    <Gate
      title={step === 'ask' ? <Trans>Forgot your password?</Trans> : <Trans>Choose another password</Trans>}
      intro={
        step === 'ask' ? (
          <Trans>We mail you a code by which you can choose another one.</Trans>
        ) : (
          <Trans>With the code from the mail. Afterwards all your devices are signed out.</Trans>
        )
      }
      footer={
        <Trans>
          You know it after all?{' '}
          <Link to="/sign-in" className="font-medium text-accent-text underline underline-offset-4">
            Sign in
          </Link>
        </Trans>
      }
    >
      <title>{t`Forgot your password? · Weir`}</title>
      {step === 'ask' ? (
        <AskForm account={account} onAccount={setAccount} onAsked={() => setStep('choose')} />
      ) : (
        <ChooseForm
          account={account}
          onAccount={setAccount}
          given={given}
          wasAsked={given === ''}
          onAgain={() => setStep('ask')}
        />
      )}
    </Gate>
  )
}

function AccountField({
  value,
  onChange,
  error,
}: {
  value: string
  onChange: (account: string) => void
  error: string | undefined
}) {
  const { t } = useLingui()
  return (
    <TextField
      label={t`Username or e-mail`}
      autoComplete="username"
      autoCapitalize="none"
      spellCheck={false}
      maxLength={254}
      value={value}
      error={error}
      onChange={(event) => onChange(event.currentTarget.value)}
    />
  )
}

function AskForm({
  account,
  onAccount,
  onAsked,
}: {
  account: string
  onAccount: (account: string) => void
  onAsked: () => void
}) {
  const { t } = useLingui()
  const [isTouched, setTouched] = useState(false)
  const ask = api.useMutation('post', '/api/v1/auth/password/reset')
  const isMissing = account.trim() === ''

  async function submit(event: SubmitEvent) {
    event.preventDefault()
    setTouched(true)
    if (isMissing) return
    try {
      await ask.mutateAsync({ body: { account: account.trim() } })
    } catch {
      return
    }
    onAsked()
  }

  return (
    <form noValidate onSubmit={(event) => void submit(event)} className="flex flex-col gap-5">
      <ProblemNotice error={ask.error} />
      <AccountField
        value={account}
        onChange={onAccount}
        error={isTouched && isMissing ? t`Fill this in.` : undefined}
      />
      <Button type="submit" kind="primary" size="large" isBusy={ask.isPending}>
        <Trans>Mail me a code</Trans>
      </Button>
    </form>
  )
}

function ChooseForm({
  account,
  onAccount,
  given,
  wasAsked,
  onAgain,
}: {
  account: string
  onAccount: (account: string) => void
  given: string
  /** Whether the code is on its way, and did not come by a link. */
  wasAsked: boolean
  onAgain: () => void
}) {
  const { t, i18n } = useLingui()
  const navigate = useNavigate()
  const { code, field, check } = useCode(given)
  const [wanted, setWanted] = useState('')
  const [factor, setFactor] = useState('')
  const [asksForFactor, setAsksForFactor] = useState(false)
  const [isTouched, setTouched] = useState(false)
  const reset = api.useMutation('put', '/api/v1/auth/password/reset')

  const problem = reset.error instanceof ProblemError ? reset.error : null
  const refused = problem?.errors?.find((field) => field.pointer === '/new_password')
  // That a code is needed is no fault: the field says it.
  const isOnlyAsked = problem?.code === 'second_factor_required'
  const rule = wanted.length < 8 ? t`At least 8 characters.` : undefined
  const isMissing = account.trim() === ''

  async function submit(event: SubmitEvent) {
    event.preventDefault()
    setTouched(true)
    if (!check() || isMissing || rule !== undefined) return
    const body = { account: account.trim(), code, new_password: wanted }
    try {
      await reset.mutateAsync({
        body: factor.trim() === '' ? body : { ...body, second_factor_code: factor.trim() },
      })
    } catch (error) {
      if (error instanceof ProblemError && error.code === 'second_factor_required') setAsksForFactor(true)
      setFactor('')
      return
    }
    // Whoever was signed in here is not any more.
    session.forget()
    toast.success(t`Your password is changed. Sign in with it.`)
    await navigate({ to: '/sign-in', replace: true })
  }

  return (
    <form noValidate onSubmit={(event) => void submit(event)} className="flex flex-col gap-5">
      {wasAsked && (
        <Notice tone="info" title={<Trans>Look at your mail</Trans>}>
          <Trans>
            If there is such an account and its address is confirmed, a code is on its way. It is good for an
            hour.
          </Trans>
        </Notice>
      )}
      {refused === undefined && !isOnlyAsked && <ProblemNotice error={reset.error} />}
      <AccountField
        value={account}
        onChange={onAccount}
        error={isTouched && isMissing ? t`Fill this in.` : undefined}
      />
      <MailedCodeField {...field} />
      <TextField
        label={t`New password`}
        hint={t`8 to 128 characters; a few words in a row are good.`}
        type="password"
        autoComplete="new-password"
        maxLength={128}
        value={wanted}
        error={
          isTouched && rule !== undefined
            ? rule
            : refused === undefined
              ? undefined
              : describeFieldError(refused, i18n)
        }
        onChange={(event) => setWanted(event.currentTarget.value)}
      />
      {asksForFactor && <CodeField takesFocus value={factor} onChange={setFactor} />}
      <Button type="submit" kind="primary" size="large" isBusy={reset.isPending}>
        <Trans>Change password</Trans>
      </Button>
      <button
        type="button"
        onClick={onAgain}
        className="self-start rounded-sm text-sm text-faint underline underline-offset-4 hover:text-text"
      >
        <Trans>No code has come</Trans>
      </button>
    </form>
  )
}
