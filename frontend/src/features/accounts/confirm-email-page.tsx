import { Trans, useLingui } from '@lingui/react/macro'
import { Link, useLocation, useNavigate } from '@tanstack/react-router'
import { MailCheck } from 'lucide-react'
import { useState } from 'react'
import { ButtonLook } from '@/ui/button'
import { Empty } from '@/ui/empty'
import { Skeleton } from '@/ui/skeleton'
import { ConfirmEmailForm } from './confirm-email-form'
import { Gate } from './gate'
import { keepCode, takeKeptCode } from './mailed-code'
import { useSession } from './session'

/** Where the link of a mail leads. Its code stands after the #, so that it is sent to nobody but the API. */
export function ConfirmEmailPage() {
  const { t } = useLingui()
  const hash = useLocation({ select: (location) => location.hash })
  const [given] = useState(() => (hash === '' ? takeKeptCode() : hash))
  const navigate = useNavigate()
  const state = useSession()

  return (
    <Gate
      title={<Trans>Confirm your address</Trans>}
      footer={
        <Trans>
          With a confirmed address you can choose another password when yours is lost. No other account can
          have it.
        </Trans>
      }
    >
      <title>{t`Confirm your e-mail address · Weir`}</title>
      {state.status === 'unknown' ? (
        <Skeleton className="h-40 w-full" />
      ) : state.status === 'signed-out' ? (
        <div className="flex flex-col items-start gap-4">
          <p className="text-sm text-soft">
            {given === '' ? (
              <Trans>Sign in to the account whose address it is.</Trans>
            ) : (
              <Trans>Sign in to the account whose address it is. Your code is kept meanwhile.</Trans>
            )}
          </p>
          <ButtonLook kind="primary" size="large">
            <Link to="/sign-in" search={{ next: '/confirm-email' }} onClick={() => keepCode(given)}>
              <Trans>Sign in</Trans>
            </Link>
          </ButtonLook>
        </div>
      ) : state.account.is_email_confirmed ? (
        <Empty
          icon={<MailCheck />}
          title={<Trans>Your address is confirmed</Trans>}
          action={
            <ButtonLook kind="primary">
              <Link to="/dashboard">
                <Trans>Go on</Trans>
              </Link>
            </ButtonLook>
          }
        >
          {state.account.email}
        </Empty>
      ) : (
        <ConfirmEmailForm
          account={state.account}
          given={given}
          onConfirmed={() => void navigate({ to: '/confirm-email', hash: '', replace: true })}
        />
      )}
    </Gate>
  )
}
