import { Trans, useLingui } from '@lingui/react/macro'
import { RotateCw, WavesLadder } from 'lucide-react'
import { describeProblem } from '@/api/problem-words'
import { ProblemError } from '@/api/problem'
import { Button } from './button'
import { Empty } from './empty'

/** In place of content that could not be had. */
export function Failed({
  error,
  onRetry,
  isRetrying,
}: {
  error: unknown
  onRetry: () => void
  isRetrying?: boolean
}) {
  const { i18n } = useLingui()
  const requestId = error instanceof ProblemError ? error.request_id : undefined
  return (
    <Empty
      role="alert"
      icon={<WavesLadder />}
      title={<Trans>This could not be loaded</Trans>}
      action={
        <Button
          onClick={onRetry}
          isBusy={isRetrying ?? false}
          icon={<RotateCw aria-hidden className="size-4" />}
        >
          <Trans>Try again</Trans>
        </Button>
      }
    >
      <p>{describeProblem(error, i18n)}</p>
      {requestId !== undefined && (
        <p className="mt-2 font-mono text-xs text-faint">
          <Trans>Request {requestId}</Trans>
        </p>
      )}
    </Empty>
  )
}
