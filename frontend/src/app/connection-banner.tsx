import { Trans } from '@lingui/react/macro'
import { useConnectionLost } from '@/api/connection'
import { Spinner } from '@/ui/spinner'

export function ConnectionBanner() {
  const isLost = useConnectionLost()
  return (
    <div role="status" className="sticky top-14 z-30 h-0">
      {isLost && (
        <p className="flex animate-rise items-center justify-center gap-2.5 border-b border-warning/40 bg-[color-mix(in_oklab,var(--warning)_14%,var(--ground))] px-4 py-2 text-center text-sm text-text">
          <Spinner className="shrink-0 text-warning" />
          <Trans>Weir does not answer; trying again.</Trans>
        </p>
      )}
    </div>
  )
}
