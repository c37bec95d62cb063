import { Trans, useLingui } from '@lingui/react/macro'
import { useQueryClient } from '@tanstack/react-query'
import { useId, useState, type SubmitEvent } from 'react'
import { toast } from 'sonner'
import { api, type Schemas } from '@/api/client'
import { clockText } from '@/features/recordings/words'
import { Button } from '@/ui/button'
import { Question } from '@/ui/dialog'
import { TextArea } from '@/ui/field'
import { ProblemNotice } from '@/ui/problem-notice'
import { Choices } from './choices'
import { ownReportsKey } from './queries'
import type { Reportable } from './report-button'
import { kindWords } from './words'

type Kind = Schemas['ReportKind']

const kinds: readonly Kind[] = ['copyright', 'rules', 'other']

/** Says what is wrong with something, to whoever administers this Weir. */
export function ReportDialog({
  things,
  atMs,
  onClose,
}: {
  things: readonly Reportable[]
  /** Where in the video the reader is, if it is one. */
  atMs: number | null
  onClose: () => void
}) {
  const { t, i18n } = useLingui()
  const queryClient = useQueryClient()
  const formId = useId()
  const create = api.useMutation('post', '/api/v1/reports')
  const [chosen, setChosen] = useState(0)
  const [kind, setKind] = useState<Kind | null>(null)
  const [text, setText] = useState('')
  const [saysWhen, setSaysWhen] = useState(atMs !== null && atMs > 0)
  const [isTouched, setTouched] = useState(false)
  const moment = clockText(atMs ?? 0)

  async function submit(event: SubmitEvent) {
    event.preventDefault()
    setTouched(true)
    const target = things[chosen]?.target
    if (kind === null || text.trim() === '' || target === undefined) return
    const when = saysWhen && atMs !== null ? { at_ms: Math.round(atMs) } : {}
    try {
      await create.mutateAsync({
        body: { target_kind: target.kind, target_id: target.id, kind, text: text.trim(), ...when },
      })
    } catch {
      // Shown above the form.
      return
    }
    await queryClient.invalidateQueries({ queryKey: ownReportsKey })
    toast.success(t`Thank you. An administrator will read it.`, {
      description: t`What comes of it stands in your settings.`,
    })
    onClose()
  }

  return (
    <Question
      open
      onOpenChange={(open) => {
        if (!open) onClose()
      }}
      title={<Trans>Report</Trans>}
      form={
        <form id={formId} noValidate onSubmit={(event) => void submit(event)} className="flex flex-col gap-5">
          <ProblemNotice error={create.error} />
          {things.length > 1 && (
            <Choices
              legend={<Trans>What do you report?</Trans>}
              value={String(chosen)}
              onChange={(value) => setChosen(Number(value))}
              choices={things.map((thing, index) => ({ value: String(index), text: thing.name }))}
            />
          )}
          <Choices
            legend={<Trans>What is wrong?</Trans>}
            value={kind}
            onChange={(value) => setKind(value)}
            choices={kinds.map((value) => ({ value, text: i18n._(kindWords[value]) }))}
            error={isTouched && kind === null ? t`Choose one.` : undefined}
          />
          <TextArea
            label={t`What should they know?`}
            hint={t`What it is and where, and if it is your work, how to see that.`}
            maxLength={2000}
            value={text}
            error={isTouched && text.trim() === '' ? t`Fill this in.` : undefined}
            onChange={(event) => setText(event.currentTarget.value)}
          />
          {atMs !== null && atMs > 0 && (
            <label className="flex items-start gap-3 text-sm text-text">
              <input
                type="checkbox"
                checked={saysWhen}
                onChange={(event) => setSaysWhen(event.currentTarget.checked)}
                className="mt-0.5 size-4 shrink-0 accent-accent-text"
              />
              <span>{t`It is about what is to be seen at ${moment}`}</span>
            </label>
          )}
        </form>
      }
      footer={
        <>
          <Button kind="bare" onClick={onClose}>
            <Trans>Cancel</Trans>
          </Button>
          <Button type="submit" form={formId} kind="primary" isBusy={create.isPending}>
            <Trans>Send the report</Trans>
          </Button>
        </>
      }
    >
      <p>
        <Trans>
          The administrators of this Weir read it. Whoever you report does not learn that it was you.
        </Trans>
      </p>
    </Question>
  )
}
