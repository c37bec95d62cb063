import { Trans, useLingui } from '@lingui/react/macro'
import { useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { toast } from 'sonner'
import { api } from '@/api/client'
import { Button } from '@/ui/button'
import { TextField } from '@/ui/field'
import { ProblemNotice } from '@/ui/problem-notice'
import { recordingSettingsQuery, type RecordingSettings } from './queries'
import { sizeText } from './words'

const gigabyte = 1e9
const longestDays = 36_500

/** For how long videos are kept, and how much room they may take: the owner's own limits, within the server's. */
export function RecordingLimits({ handle, settings }: { handle: string; settings: RecordingSettings }) {
  const { t, i18n } = useLingui()
  const queryClient = useQueryClient()
  const { own_limits: own, server_limits: most, usage } = settings
  const [days, setDays] = useState(own.keep_days === null ? '' : String(own.keep_days))
  const [size, setSize] = useState(own.max_size_bytes === null ? '' : String(own.max_size_bytes / gigabyte))
  const change = api.useMutation('put', '/api/v1/channels/{handle}/recording-settings')
  const wantedDays = days.trim() === '' ? null : Number(days)
  const wantedSize = size.trim() === '' ? null : Math.round(Number(size.replace(',', '.')) * gigabyte)
  const daysError =
    wantedDays === null || (Number.isInteger(wantedDays) && wantedDays >= 1 && wantedDays <= longestDays)
      ? undefined
      : t`Use a whole number of days, or leave it empty.`
  const sizeError =
    wantedSize === null || wantedSize >= 1 ? undefined : t`Use a number of gigabytes, or leave it empty.`
  const isSame = wantedDays === own.keep_days && wantedSize === own.max_size_bytes
  const isGood = daysError === undefined && sizeError === undefined

  async function save() {
    try {
      const saved = await change.mutateAsync({
        params: { path: { handle } },
        body: {
          is_on: settings.is_on,
          max_count: own.max_count,
          keep_days: wantedDays,
          max_size_bytes: wantedSize,
        },
      })
      queryClient.setQueryData(recordingSettingsQuery(handle).queryKey, saved)
      void queryClient.invalidateQueries({ queryKey: ['recordings', handle] })
      toast.success(t`Saved`)
    } catch {
      // Said below the fields.
    }
  }

  const limit = wantedSize ?? most.max_size_bytes
  return (
    <form
      className="flex flex-col gap-4"
      onSubmit={(event) => {
        event.preventDefault()
        if (isGood && !isSame) void save()
      }}
    >
      <div className="grid gap-4 sm:grid-cols-2">
        <TextField
          label={t`Keep for, in days`}
          inputMode="numeric"
          value={days}
          error={daysError}
          placeholder={most.keep_days === null ? t`for ever` : String(most.keep_days)}
          hint={
            most.keep_days === null ? (
              <Trans>Empty: until you delete them.</Trans>
            ) : (
              <Trans>Empty: the server’s limit, {most.keep_days}. More than that is not kept.</Trans>
            )
          }
          onChange={(event) => setDays(event.target.value)}
        />
        <TextField
          label={t`All together, in GB at most`}
          inputMode="decimal"
          value={size}
          error={sizeError}
          placeholder={most.max_size_bytes === null ? t`no limit` : String(most.max_size_bytes / gigabyte)}
          hint={
            <Trans>
              When there is more, the oldest go. The newest stays, and ends early where it takes all of it by
              itself.
            </Trans>
          }
          onChange={(event) => setSize(event.target.value)}
        />
      </div>
      <Room used={usage.size_bytes} limit={limit} locale={i18n.locale} />
      <ProblemNotice error={change.error} />
      <Button type="submit" isBusy={change.isPending} disabled={!isGood || isSame} className="self-start">
        <Trans>Save the limits</Trans>
      </Button>
    </form>
  )
}

/** What is taken of what may be. */
function Room({ used, limit, locale }: { used: number; limit: number | null; locale: string }) {
  const { t } = useLingui()
  const taken = sizeText(used, locale)
  if (limit === null || !(limit > 0)) {
    return (
      <p className="text-xs text-faint tabular-nums">
        <Trans>All videos together: {taken}</Trans>
      </p>
    )
  }
  const most = sizeText(limit, locale)
  const share = Math.min(1, used / limit)
  return (
    <div className="flex flex-col gap-1.5">
      <p className="text-xs text-faint tabular-nums">
        <Trans>
          {taken} of {most} taken
        </Trans>
      </p>
      <div
        role="meter"
        aria-label={t`Room that videos take`}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round(share * 100)}
        className="h-2 overflow-hidden rounded-full bg-raised-high"
      >
        <div
          className={`h-full ${share > 0.9 ? 'bg-warning' : 'bg-accent'}`}
          style={{ width: `${Math.max(share * 100, used > 0 ? 1 : 0)}%` }}
        />
      </div>
    </div>
  )
}
