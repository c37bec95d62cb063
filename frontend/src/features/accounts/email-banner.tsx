import { Trans, useLingui } from '@lingui/react/macro'
import { Link, useLocation } from '@tanstack/react-router'
import { Mail, X } from 'lucide-react'
import { useState } from 'react'
import { IconButton } from '@/ui/button'
import { useSession } from './session'

const key = 'weir:email-banner'

function wasClosed(): boolean {
  try {
    return sessionStorage.getItem(key) !== null
  } catch {
    return false
  }
}

/** Reminds who has not confirmed their address, where they work and not where they watch. */
export function EmailBanner() {
  const { t } = useLingui()
  const state = useSession()
  const path = useLocation({ select: (location) => location.pathname })
  const [isClosed, setClosed] = useState(wasClosed)
  const isWhereOneWorks = path.startsWith('/dashboard') || path === '/new-channel'
  if (isClosed || !isWhereOneWorks || state.status !== 'signed-in' || state.account.is_email_confirmed)
    return null
  return (
    <div className="border-b bg-warning-wash">
      <div className="page flex items-center gap-3 py-1.5 text-sm text-text">
        <Mail aria-hidden className="size-5 shrink-0 text-warning" />
        <p className="min-w-0 grow">
          <Trans>
            Confirm your e-mail address, so that you can come back when your password is lost.{' '}
            <Link to="/confirm-email" className="font-medium underline underline-offset-4">
              Enter the code
            </Link>
          </Trans>
        </p>
        <IconButton
          label={t`Not now`}
          onClick={() => {
            setClosed(true)
            try {
              sessionStorage.setItem(key, '1')
            } catch {
              // It is closed as long as the page.
            }
          }}
        >
          <X aria-hidden className="size-5" />
        </IconButton>
      </div>
    </div>
  )
}
