import { Trans, useLingui } from '@lingui/react/macro'
import { Link } from '@tanstack/react-router'
import { ArrowLeft } from 'lucide-react'
import type { ReactNode } from 'react'
import { useSession } from '@/features/accounts/session'
import { DeletePanel } from './delete-panel'
import { ExportPanel } from './export-panel'

/** What one can ask for of what is kept of oneself: a copy, and to be forgotten. */
export function PrivacyPage() {
  const { t } = useLingui()
  const state = useSession()
  if (state.status !== 'signed-in') return null
  const { account } = state
  return (
    <div className="page max-w-[64rem] py-10 sm:py-14">
      <title>{t`Your data · Weir`}</title>
      <BackToSettings />
      <h1 className="mt-4 text-xl font-semibold text-text">
        <Trans>Your data</Trans>
      </h1>
      <Part
        title={<Trans>A copy of it</Trans>}
        about={
          <Trans>
            Everything that this Weir keeps of you, as files that programs can read, with links to your
            videos. Once an hour at most.
          </Trans>
        }
      >
        <ExportPanel account={account} />
      </Part>
      <Part title={<Trans>Delete the account</Trans>} about={<Trans>You can ask for a copy first.</Trans>}>
        <DeletePanel account={account} />
      </Part>
    </div>
  )
}

export function BackToSettings() {
  return (
    <Link
      to="/settings"
      className="inline-flex items-center gap-2 rounded-sm text-sm font-medium text-soft hover:text-text"
    >
      <ArrowLeft aria-hidden className="size-4" />
      <Trans>Settings</Trans>
    </Link>
  )
}

function Part({ title, about, children }: { title: ReactNode; about: ReactNode; children: ReactNode }) {
  return (
    <section className="mt-8 grid gap-x-10 gap-y-4 border-t pt-8 md:grid-cols-[minmax(0,1fr)_minmax(0,2fr)]">
      <div>
        <h2 className="text-base font-semibold text-text">{title}</h2>
        <p className="mt-1 text-sm text-faint">{about}</p>
      </div>
      <div className="min-w-0">{children}</div>
    </section>
  )
}
