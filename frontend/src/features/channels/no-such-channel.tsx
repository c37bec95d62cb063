import { Trans, useLingui } from '@lingui/react/macro'
import { Link } from '@tanstack/react-router'
import { Compass } from 'lucide-react'
import { ButtonLook } from '@/ui/button'
import { Empty } from '@/ui/empty'

export function NoSuchChannel({ handle }: { handle: string }) {
  const { t } = useLingui()
  return (
    <div className="page py-16">
      <title>{t`Not found · Weir`}</title>
      <h1 className="sr-only">
        <Trans>Not found</Trans>
      </h1>
      <Empty
        icon={<Compass />}
        title={<Trans>There is no channel “{handle}”</Trans>}
        action={
          <ButtonLook kind="primary">
            <Link to="/">
              <Trans>See what is live</Trans>
            </Link>
          </ButtonLook>
        }
      >
        <Trans>Check the address for a slip; it may also have been closed.</Trans>
      </Empty>
    </div>
  )
}
