import { Trans, useLingui } from '@lingui/react/macro'
import { useState, type SubmitEvent } from 'react'
import { toast } from 'sonner'
import { api } from '@/api/client'
import { Button } from '@/ui/button'
import { ProblemNotice } from '@/ui/problem-notice'
import { AnotherMailButton, MailedCodeField, mailLanguage, useCode } from './mailed-code'
import { session, type Account } from './session'

/** The code that was mailed to one's address, and another one. */
export function ConfirmEmailForm({
  account,
  given = '',
  onConfirmed,
}: {
  account: Account
  /** The code that a link brought. */
  given?: string
  onConfirmed?: () => void
}) {
  const { t, i18n } = useLingui()
  const { code, field, check, clear } = useCode(given)
  const [againAt, setAgainAt] = useState<string | null>(null)
  const confirm = api.useMutation('put', '/api/v1/auth/email/confirmation')
  const ask = api.useMutation('post', '/api/v1/auth/email/confirmation')
  const { email = '' } = account

  async function submit(event: SubmitEvent) {
    event.preventDefault()
    if (!check()) return
    try {
      session.change(await confirm.mutateAsync({ body: { code } }))
    } catch {
      return
    }
    clear()
    toast.success(t`Your address is confirmed.`)
    onConfirmed?.()
  }

  async function sendAnother() {
    confirm.reset()
    try {
      const { again_at } = await ask.mutateAsync({ body: { language: mailLanguage(i18n.locale) } })
      setAgainAt(again_at)
      toast.success(t`A code is on its way to ${email}.`)
    } catch {
      // Shown above the form.
    }
  }

  return (
    <form noValidate onSubmit={(event) => void submit(event)} className="flex max-w-md flex-col gap-4">
      <ProblemNotice error={confirm.error ?? ask.error} />
      <MailedCodeField {...field} hint={t`We mailed it to ${email}. Look among unwanted mail, too.`} />
      <div className="flex flex-wrap gap-3">
        <Button type="submit" kind="primary" isBusy={confirm.isPending}>
          <Trans>Confirm</Trans>
        </Button>
        <AnotherMailButton againAt={againAt} isBusy={ask.isPending} onAsk={() => void sendAnother()} />
      </div>
    </form>
  )
}
