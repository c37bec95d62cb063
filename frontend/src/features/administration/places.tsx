import { Trans } from '@lingui/react/macro'
import { DoorOpen, Flag, ShieldCheck, Users } from 'lucide-react'
import type { ReactNode } from 'react'

interface Place {
  to: '/admin/accounts' | '/admin/audit' | '/admin/registration' | '/admin/reports'
  name: ReactNode
  /** What is done there, in a sentence. */
  about: ReactNode
  icon: ReactNode
}

/** What administrators find under /admin, in this order. A place adds its address to `Place`, a line here, and a route under `admin`. */
export const places: readonly Place[] = [
  {
    to: '/admin/reports',
    name: <Trans>Reports</Trans>,
    about: <Trans>What people say is wrong, and what you decide about it.</Trans>,
    icon: <Flag />,
  },
  {
    to: '/admin/accounts',
    name: <Trans>Accounts</Trans>,
    about: <Trans>Who has an account here; suspend somebody, or let them in again.</Trans>,
    icon: <Users />,
  },
  {
    to: '/admin/registration',
    name: <Trans>Registration</Trans>,
    about: <Trans>Who may make an account, and the invites for it.</Trans>,
    icon: <DoorOpen />,
  },
  {
    to: '/admin/audit',
    name: <Trans>Security log</Trans>,
    about: <Trans>Sign-ins, changes of how people sign in, exports and deletions.</Trans>,
    icon: <ShieldCheck />,
  },
]
