import { Trans, useLingui } from '@lingui/react/macro'
import { Link, useSearch } from '@tanstack/react-router'
import { Waves } from 'lucide-react'
import { ButtonLook } from '@/ui/button'
import { Empty } from '@/ui/empty'

/** After one has asked for one's account to be deleted. */
export function DeletedPage() {
  const { t, i18n } = useLingui()
  const { at } = useSearch({ from: '/settings/deleted' })
  const time = at === undefined ? Number.NaN : Date.parse(at)
  const when = Number.isNaN(time)
    ? undefined
    : new Date(time).toLocaleString(i18n.locale, { dateStyle: 'long', timeStyle: 'short' })
  return (
    <div className="page max-w-[48rem] py-16">
      <title>{t`Deleted · Weir`}</title>
      <h1 className="sr-only">
        <Trans>Your account</Trans>
      </h1>
      {when === undefined ? (
        <Empty
          icon={<Waves />}
          role="status"
          title={<Trans>Your account is deleted</Trans>}
          action={
            <ButtonLook>
              <Link to="/">
                <Trans>To the start page</Trans>
              </Link>
            </ButtonLook>
          }
        >
          <Trans>Your channels close within seconds. Thank you for having been here.</Trans>
        </Empty>
      ) : (
        <Empty
          icon={<Waves />}
          role="status"
          title={<Trans>Your account will be deleted on {when}</Trans>}
          action={
            <ButtonLook kind="primary">
              <Link to="/sign-in">
                <Trans>Sign in and keep it</Trans>
              </Link>
            </ButtonLook>
          }
        >
          <Trans>You are signed out everywhere. Sign in before then, and everything stays as it is.</Trans>
        </Empty>
      )}
    </div>
  )
}
