import { Trans, useLingui } from '@lingui/react/macro'
import type { ErrorComponentProps } from '@tanstack/react-router'
import { RotateCw, WavesLadder } from 'lucide-react'
import { Button } from '@/ui/button'
import { Empty } from '@/ui/empty'

/** When a page itself breaks, or a part of the app cannot be fetched (after an upgrade, say). */
export function FailurePage({ error }: ErrorComponentProps) {
  const { t } = useLingui()
  return (
    <div className="page py-16">
      <title>{t`Something broke · Weir`}</title>
      <h1 className="sr-only">
        <Trans>Something broke</Trans>
      </h1>
      <Empty
        role="alert"
        icon={<WavesLadder />}
        title={<Trans>This page broke</Trans>}
        action={
          <Button
            kind="primary"
            onClick={() => globalThis.location.reload()}
            icon={<RotateCw aria-hidden className="size-4" />}
          >
            <Trans>Load again</Trans>
          </Button>
        }
      >
        <p>
          <Trans>It is not your doing. Loading the page again usually helps.</Trans>
        </p>
        <p className="mt-3 font-mono text-xs break-words text-faint">
          {error instanceof Error ? error.message : String(error)}
        </p>
      </Empty>
    </div>
  )
}
