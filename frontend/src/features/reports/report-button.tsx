import { Trans } from '@lingui/react/macro'
import { Link, useLocation } from '@tanstack/react-router'
import { Flag } from 'lucide-react'
import { lazy, Suspense, useState, type ReactNode } from 'react'
import type { Schemas } from '@/api/client'
import { useSession } from '@/features/accounts/session'
import { Button, ButtonLook } from '@/ui/button'

const load = () => import('./report-dialog')
const ReportDialog = lazy(() => load().then((module) => ({ default: module.ReportDialog })))

/** Most of the time it is there when the button is pressed. */
function prepare(): void {
  load().catch(() => {
    // Opening it says what is wrong.
  })
}

export interface Reportable {
  target: { kind: Schemas['ReportedKind']; id: string }
  name: ReactNode
}

/** Opens the dialog by which one reports one of these things; whoever is signed out signs in first. */
export function ReportButton({ things, now }: { things: readonly Reportable[]; now?: () => number | null }) {
  const state = useSession()
  const { href } = useLocation()
  const [isOpen, setOpen] = useState(false)
  const look = (
    <>
      <Flag aria-hidden className="size-4" />
      <Trans>Report</Trans>
    </>
  )
  if (state.status !== 'signed-in') {
    return (
      <ButtonLook kind="bare">
        <Link to="/sign-in" search={{ next: href }}>
          {look}
        </Link>
      </ButtonLook>
    )
  }
  return (
    <>
      <Button kind="bare" onPointerEnter={prepare} onFocus={prepare} onClick={() => setOpen(true)}>
        {look}
      </Button>
      {isOpen && (
        <Suspense fallback={null}>
          <ReportDialog things={things} atMs={now?.() ?? null} onClose={() => setOpen(false)} />
        </Suspense>
      )}
    </>
  )
}
