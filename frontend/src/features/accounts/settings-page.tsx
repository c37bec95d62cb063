import { Trans, useLingui } from '@lingui/react/macro'
import type { ReactNode } from 'react'
import { PasswordForm } from './password-form'
import { PersonalTokensPanel } from './personal-tokens-panel'
import { SecondFactorPanel } from './second-factor-panel'
import { useSession } from './session'
import { SessionsPanel } from './sessions-panel'

/** How one signs in, and where one is signed in. */
export function SettingsPage() {
  const { t } = useLingui()
  const state = useSession()
  if (state.status !== 'signed-in') return null
  const { account } = state

  return (
    <div className="page max-w-[64rem] py-10 sm:py-14">
      <title>{t`Settings · Weir`}</title>
      <h1 className="text-xl font-semibold text-text">
        <Trans>Settings</Trans>
      </h1>
      <p className="mt-1 text-sm text-soft">
        {account.username}
        {account.email !== undefined && <> · {account.email}</>}
      </p>
      <Section
        title={<Trans>Password</Trans>}
        about={<Trans>A few words in a row are good. Do not use one from elsewhere.</Trans>}
      >
        <PasswordForm account={account} />
      </Section>
      <Section
        title={<Trans>Two-factor authentication</Trans>}
        about={<Trans>With it, nobody signs in with your password alone.</Trans>}
      >
        <SecondFactorPanel account={account} />
      </Section>
      <Section
        title={<Trans>Where you are signed in</Trans>}
        about={<Trans>End what you do not know, then change your password.</Trans>}
      >
        <SessionsPanel />
      </Section>
      <Section
        title={<Trans>Personal tokens</Trans>}
        about={
          <Trans>
            For programs of your own. A token can do what you allow it, and never changes how you sign in.
          </Trans>
        }
      >
        <PersonalTokensPanel account={account} />
      </Section>
    </div>
  )
}

function Section({ title, about, children }: { title: ReactNode; about: ReactNode; children: ReactNode }) {
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
