import { useLingui } from '@lingui/react/macro'
import { Check } from 'lucide-react'
import { classes } from '@/ui/classes'
import type { IngestStatus } from './queries'

type State = IngestStatus['state']

/** Where the way from the encoder to the viewers stands: waiting, receiving, live. */
export function StateTrack({ state }: { state: State }) {
  const { t } = useLingui()
  const steps = [
    { name: state === 'waiting' ? t`Waiting for the encoder` : t`Connected` },
    { name: state === 'reconnecting' ? t`Reconnecting` : t`Receiving` },
    { name: t`Live` },
  ]
  const reached = { waiting: 0, receiving: 1, reconnecting: 1, live: 2 }[state]
  return (
    <ol className="grid grid-cols-3 gap-2" data-testid="ingest-state" data-state={state}>
      {steps.map((step, index) => {
        const isNow = index === reached
        const isDone = index < reached
        const tone = !isNow
          ? ''
          : state === 'live'
            ? 'bg-live'
            : state === 'reconnecting'
              ? 'bg-warning'
              : 'bg-accent'
        return (
          <li key={step.name} aria-current={isNow ? 'step' : undefined} className="min-w-0">
            <span
              aria-hidden
              className={classes(
                'block h-1 rounded-full',
                isNow ? tone : isDone ? 'bg-accent' : 'bg-line',
                isNow && state !== 'live' && 'animate-pulse-live',
              )}
            />
            <span
              className={classes(
                'mt-2 flex items-center gap-1.5 text-xs leading-tight font-medium',
                isNow ? 'text-text' : 'text-faint',
              )}
            >
              {isDone && (
                <Check aria-hidden className="size-3.5 shrink-0 text-accent-text max-[26rem]:hidden" />
              )}
              {step.name}
            </span>
          </li>
        )
      })}
    </ol>
  )
}
