import { Plural, Trans, useLingui } from '@lingui/react/macro'
import { TextArea } from '@/ui/field'

const dayMs = 86_400_000
const lengths = [1, 7, 30, 365]

/** How long somebody is kept out, and why. */
export interface SuspensionDraft {
  reason: string
  /** `null`: until it is lifted. */
  days: number | null
}

export const noSuspension: SuspensionDraft = { reason: '', days: 7 }

/** As the server takes it. */
export function suspensionOf({ reason, days }: SuspensionDraft): { reason: string; until?: string } {
  const until = days === null ? {} : { until: new Date(Date.now() + days * dayMs).toISOString() }
  return { reason: reason.trim(), ...until }
}

export function SuspensionFields({
  value,
  onChange,
  isTouched,
}: {
  value: SuspensionDraft
  onChange: (value: SuspensionDraft) => void
  isTouched: boolean
}) {
  const { t } = useLingui()
  return (
    <>
      <TextArea
        label={t`Why?`}
        hint={t`Its owner reads this when they sign in.`}
        rows={3}
        maxLength={500}
        value={value.reason}
        error={isTouched && value.reason.trim() === '' ? t`Fill this in.` : undefined}
        onChange={(event) => onChange({ ...value, reason: event.currentTarget.value })}
      />
      <label className="flex flex-col gap-1.5 text-sm font-medium text-text">
        <Trans>For how long?</Trans>
        <select
          value={value.days ?? ''}
          onChange={(event) => {
            const days = event.currentTarget.value
            onChange({ ...value, days: days === '' ? null : Number(days) })
          }}
          className="h-11 rounded-sm border border-line-strong/70 bg-raised px-3 text-base font-normal text-text"
        >
          {lengths.map((days) => (
            <option key={days} value={days}>
              <Plural value={days} one="# day" other="# days" />
            </option>
          ))}
          <option value="">{t`Until somebody lifts it`}</option>
        </select>
      </label>
    </>
  )
}
