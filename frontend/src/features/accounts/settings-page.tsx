import { Trans, useLingui } from '@lingui/react/macro'
import { Link } from '@tanstack/react-router'
import type { ReactNode } from 'react'
import { ButtonLook } from '@/ui/button'
import { EmailPanel } from './email-panel'
import { PasswordForm } from './password-form'
import { PersonalTokensPanel } from './personal-tokens-panel'
import { ProfilePanel } from './profile-form'
import { SecondFactorPanel } from './second-factor-panel'
import { useSession } from './session'
import { OwnReportsPanel } from '@/features/reports/own-reports-panel'
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
      <Section title={<Trans>Profile</Trans>} about={<Trans>What everybody sees of you.</Trans>}>
        <ProfilePanel />
      </Section>
      <Section
        title={<Trans>E-mail</Trans>}
        about={<Trans>Only you see it. By it you come back when your password is lost.</Trans>}
      >
        <EmailPanel account={account} />
      </Section>
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
        <ButtonLook className="mt-3 self-start">
          <Link to="/settings/activity">
            <Trans>Security activity</Trans>
          </Link>
        </ButtonLook>
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
      <Section
        title={<Trans>Your data</Trans>}
        about={<Trans>A copy of everything that is kept of you, and how to delete the account.</Trans>}
      >
        <ButtonLook>
          <Link to="/settings/privacy">
            <Trans>See what you can do</Trans>
          </Link>
        </ButtonLook>
      </Section>
      <Section
        title={<Trans>What you have reported</Trans>}
        about={<Trans>And what administrators have decided and answered.</Trans>}
      >
        <OwnReportsPanel />
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
