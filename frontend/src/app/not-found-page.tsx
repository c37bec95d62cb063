import { Trans, useLingui } from '@lingui/react/macro'
import { Link } from '@tanstack/react-router'
import { Compass } from 'lucide-react'
import { ButtonLook } from '@/ui/button'
import { Empty } from '@/ui/empty'

export function NotFoundPage() {
  const { t } = useLingui()
  return (
    <div className="page py-16">
      <title>{t`Not found · Weir`}</title>
      <h1 className="sr-only">
        <Trans>Not found</Trans>
      </h1>
      <Empty
        icon={<Compass />}
        title={<Trans>Nothing flows here</Trans>}
        action={
          <ButtonLook kind="primary">
            <Link to="/">
              <Trans>See what is live</Trans>
            </Link>
          </ButtonLook>
        }
      >
        <Trans>There is no page at this address. It may have been moved, or mistyped.</Trans>
      </Empty>
    </div>
  )
}
