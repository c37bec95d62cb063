import { Trans, useLingui } from '@lingui/react/macro'
import { useQueryClient } from '@tanstack/react-query'
import { useState, type ReactNode, type SubmitEvent } from 'react'
import { toast } from 'sonner'
import { api, type Schemas } from '@/api/client'
import { accountsKey } from '@/features/administration/queries'
import { noSuspension, SuspensionFields, suspensionOf } from '@/features/administration/suspension-fields'
import { useSession } from '@/features/accounts/session'
import { Button } from '@/ui/button'
import { TextArea } from '@/ui/field'
import { ProblemNotice } from '@/ui/problem-notice'
import { Choices } from './choices'
import { queueKey, type QueuedReport } from './queries'

type Outcome = 'dismissed' | 'none' | 'take_down' | 'suspend_account'

/** What an administrator has found, and does. */
export function DecisionForm({ report, onDone }: { report: QueuedReport; onDone: () => void }) {
  const { t } = useLingui()
  const state = useSession()
  const queryClient = useQueryClient()
  const decide = api.useMutation('put', '/api/v1/admin/reports/{id}/decision')
  const [outcome, setOutcome] = useState<Outcome | null>(null)
  const [answer, setAnswer] = useState('')
  const [suspension, setSuspension] = useState(noSuspension)
  const [isTouched, setTouched] = useState(false)
  const isOwn = state.status === 'signed-in' && state.account.id === report.target.owner.id
  const suspends = outcome === 'suspend_account'

  async function submit(event: SubmitEvent) {
    event.preventDefault()
    setTouched(true)
    if (outcome === null || (suspends && suspension.reason.trim() === '')) return
    const body: Schemas['DecideReportRequest'] = {
      verdict: outcome === 'dismissed' ? 'dismissed' : 'upheld',
      action: outcome === 'dismissed' ? 'none' : outcome,
      ...(answer.trim() === '' ? {} : { answer: answer.trim() }),
      ...(suspends ? suspensionOf(suspension) : {}),
    }
    try {
      await decide.mutateAsync({ params: { path: { id: report.id } }, body })
    } catch {
      // Shown above the form.
      return
    }
    onDone()
    toast.success(t`Decided.`)
    await Promise.all([
      queryClient.invalidateQueries({ queryKey: queueKey }),
      queryClient.invalidateQueries({ queryKey: accountsKey }),
    ])
  }

  const choices: { value: Outcome; text: ReactNode; about: ReactNode }[] = [
    {
      value: 'dismissed',
      text: <Trans>Nothing has to be done</Trans>,
      about: <Trans>The report is dismissed.</Trans>,
    },
    {
      value: 'none',
      text: <Trans>It is right, and seen to</Trans>,
      about: <Trans>Weir does nothing by itself.</Trans>,
    },
  ]
  if (report.target.kind === 'stream' || report.target.kind === 'recording') {
    choices.push({
      value: 'take_down',
      text: <Trans>Take it down</Trans>,
      about:
        report.target.kind === 'stream' ? (
          <Trans>The stream ends, and its video is deleted for good. The channel can stream again.</Trans>
        ) : (
          <Trans>The video is deleted for good.</Trans>
        ),
    })
  }
  if (!isOwn) {
    choices.push({
      value: 'suspend_account',
      text: <Trans>Suspend the account</Trans>,
      about: <Trans>Its owner is signed out, its streams end, and its channels are hidden.</Trans>,
    })
  }
  return (
    <form
      noValidate
      onSubmit={(event) => void submit(event)}
      className="mt-4 flex max-w-xl flex-col gap-5 border-t pt-4"
    >
      <ProblemNotice error={decide.error} />
      <Choices
        legend={<Trans>What do you decide?</Trans>}
        value={outcome}
        onChange={setOutcome}
        choices={choices}
        error={isTouched && outcome === null ? t`Choose one.` : undefined}
      />
      {suspends && <SuspensionFields value={suspension} onChange={setSuspension} isTouched={isTouched} />}
      <TextArea
        label={t`Answer to who reported`}
        aside={<Trans>optional</Trans>}
        rows={3}
        maxLength={2000}
        value={answer}
        onChange={(event) => setAnswer(event.currentTarget.value)}
      />
      <div className="flex flex-wrap gap-3">
        <Button
          type="submit"
          kind={outcome === 'take_down' || suspends ? 'danger' : 'primary'}
          isBusy={decide.isPending}
        >
          <Trans>Decide</Trans>
        </Button>
        <Button kind="bare" onClick={onDone}>
          <Trans>Cancel</Trans>
        </Button>
      </div>
    </form>
  )
}
