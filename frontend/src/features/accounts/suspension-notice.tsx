import { Trans, useLingui } from '@lingui/react/macro'
import type { Schemas } from '@/api/client'
import { Notice } from '@/ui/notice'

/** Why somebody whose password was right cannot get in, and until when. */
export function SuspensionNotice({ suspension }: { suspension: Schemas['SuspensionNotice'] }) {
  const { i18n } = useLingui()
  const until =
    suspension.until === null
      ? null
      : new Date(suspension.until).toLocaleString(i18n.locale, { dateStyle: 'long', timeStyle: 'short' })
  return (
    <Notice tone="danger" role="alert" title={<Trans>Your account is suspended.</Trans>}>
      <p className="mt-1 break-words whitespace-pre-line">{suspension.reason}</p>
      <p className="mt-2">
        {until === null ? (
          <Trans>It stays so until an administrator lifts it. Ask whoever runs this server.</Trans>
        ) : (
          <Trans>You can sign in again after {until}.</Trans>
        )}
      </p>
      <p className="mt-2">
        <Trans>
          You can still have a copy of your data, or have your account deleted: write to whoever runs this
          server.
        </Trans>
      </p>
    </Notice>
  )
}
