import { Trans, useLingui } from '@lingui/react/macro'
import { BackToSettings } from '@/features/privacy/privacy-page'
import { ActivityPanel } from './activity-panel'

/** What happened to the safety of one's own account. */
export function ActivityPage() {
  const { t } = useLingui()
  return (
    <div className="page max-w-[48rem] py-10 sm:py-14">
      <title>{t`Security activity · Weir`}</title>
      <BackToSettings />
      <h1 className="mt-4 text-xl font-semibold text-text">
        <Trans>Security activity</Trans>
      </h1>
      <p className="mt-1 mb-6 text-sm text-soft">
        <Trans>
          Sign-ins, and changes of how you sign in. Is there something that was not you? End that session and
          change your password.
        </Trans>
      </p>
      <ActivityPanel />
    </div>
  )
}
