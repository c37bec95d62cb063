import { zodResolver } from '@hookform/resolvers/zod'
import { Trans, useLingui } from '@lingui/react/macro'
import { useQueryClient } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { useForm } from 'react-hook-form'
import { toast } from 'sonner'
import { z } from '@/ui/checks'
import { settled } from '@/api/accepted'
import { api } from '@/api/client'
import { showAtFields } from '@/api/form-problems'
import { ProblemError } from '@/api/problem'
import { Button } from '@/ui/button'
import { TextArea, TextField } from '@/ui/field'
import { Notice } from '@/ui/notice'
import { ProblemNotice } from '@/ui/problem-notice'
import { channelQuery, type Channel } from './queries'
import { descriptionRule, titleRule } from './rules'

interface Details {
  title: string
  description: string
}

/** Title and description. An edit names the version it started from, so that nobody's is lost unseen. */
export function DetailsForm({ channel }: { channel: Channel }) {
  const { t, i18n } = useLingui()
  const queryClient = useQueryClient()
  const [base, setBase] = useState(channel)
  const [newer, setNewer] = useState<Channel | null>(null)
  const [problem, setProblem] = useState<unknown>(null)
  const edit = api.useMutation('patch', '/api/v1/channels/{handle}')
  const form = useForm<Details>({
    resolver: zodResolver(z.object({ title: titleRule(i18n), description: descriptionRule(i18n) })),
    defaultValues: detailsOf(channel),
    mode: 'onTouched',
  })
  const { errors, isDirty, isSubmitting } = form.formState

  // What others changed is taken over as long as nothing here would be lost by it.
  if (!isDirty && channel.version > base.version) setBase(channel)
  useEffect(() => form.reset(detailsOf(base)), [base, form])

  function startFrom(version: Channel) {
    setBase(version)
    setNewer(null)
  }

  async function save(details: Details, version: number) {
    setProblem(null)
    const path = { handle: channel.handle }
    try {
      const answer = await edit.mutateAsync({
        params: { path, header: { 'If-Match': `"${version}"` } },
        body: details,
      })
      const saved = settled(answer)
      queryClient.setQueryData(channelQuery(channel.handle).queryKey, saved)
      void queryClient.invalidateQueries({ queryKey: ['channels'] })
      startFrom(saved)
      toast.success(t`Saved`)
    } catch (error) {
      if (error instanceof ProblemError && error.code === 'version_stale') {
        setNewer(await queryClient.query({ ...channelQuery(channel.handle), staleTime: 0 }))
        return
      }
      if (!showAtFields(error, ['title', 'description'], {}, form.setError, i18n)) setProblem(error)
    }
  }

  const submit = form.handleSubmit((details) => save(details, base.version))
  return (
    <form noValidate onSubmit={(event) => void submit(event)} className="flex flex-col gap-5">
      <ProblemNotice error={problem} />
      {newer !== null && (
        <Notice
          tone="warning"
          role="alert"
          title={<Trans>The channel was changed elsewhere in the meantime</Trans>}
        >
          <p>
            <Trans>Its title is now “{newer.title}”.</Trans>
          </p>
          <div className="mt-3 flex flex-wrap gap-2">
            <Button onClick={() => startFrom(newer)}>
              <Trans>Take the newer text</Trans>
            </Button>
            <Button
              onClick={() => {
                const { version } = newer
                setNewer(null)
                void form.handleSubmit((details) => save(details, version))()
              }}
            >
              <Trans>Save mine over it</Trans>
            </Button>
          </div>
        </Notice>
      )}
      <TextField
        label={t`Title`}
        autoComplete="off"
        error={errors.title?.message}
        {...form.register('title')}
      />
      <TextArea
        label={t`Description`}
        aside={t`optional`}
        rows={5}
        error={errors.description?.message}
        {...form.register('description')}
      />
      <div className="flex flex-wrap gap-3">
        <Button type="submit" kind="primary" isBusy={isSubmitting} disabled={!isDirty || isSubmitting}>
          <Trans>Save</Trans>
        </Button>
        {isDirty && (
          <Button kind="bare" onClick={() => form.reset()}>
            <Trans>Undo changes</Trans>
          </Button>
        )}
      </div>
    </form>
  )
}

function detailsOf({ title, description }: Channel): Details {
  return { title, description }
}
