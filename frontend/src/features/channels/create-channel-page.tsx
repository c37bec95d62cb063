import { zodResolver } from '@hookform/resolvers/zod'
import { Trans, useLingui } from '@lingui/react/macro'
import { useQueryClient } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { useForm, useWatch } from 'react-hook-form'
import { z } from '@/ui/checks'
import { settled } from '@/api/accepted'
import { api } from '@/api/client'
import { showAtFields } from '@/api/form-problems'
import { Button } from '@/ui/button'
import { TextArea, TextField } from '@/ui/field'
import { ProblemNotice } from '@/ui/problem-notice'
import { nameRule } from '@/features/accounts/rules'
import { ChannelPreview } from './channel-preview'
import { descriptionRule, titleRule } from './rules'
import { createKeyring } from './random-key'
import { channelQuery } from './queries'

export function CreateChannelPage() {
  const { t, i18n } = useLingui()
  const navigate = useNavigate()
  const queryClient = useQueryClient()
  const [problem, setProblem] = useState<unknown>(null)
  const create = api.useMutation('post', '/api/v1/channels')
  const [keyFor] = useState(createKeyring)
  const form = useForm({
    resolver: zodResolver(
      z.object({ handle: nameRule(i18n), title: titleRule(i18n), description: descriptionRule(i18n) }),
    ),
    defaultValues: { handle: '', title: '', description: '' },
    mode: 'onTouched',
  })
  const { errors } = form.formState
  const [handle, title] = useWatch({ control: form.control, name: ['handle', 'title'] })

  const submit = form.handleSubmit(async (body) => {
    setProblem(null)
    try {
      const headers = { 'Idempotency-Key': keyFor(JSON.stringify(body)) }
      const channel = settled(await create.mutateAsync({ headers, body }))
      queryClient.setQueryData(channelQuery(channel.handle).queryKey, channel)
      void queryClient.invalidateQueries({ queryKey: ['channels'] })
      await navigate({ to: '/dashboard/$handle', params: { handle: channel.handle }, replace: true })
    } catch (error) {
      const isShown = showAtFields(
        error,
        ['handle', 'title', 'description'],
        { handle_taken: 'handle' },
        form.setError,
        i18n,
      )
      if (!isShown) setProblem(error)
    }
  })

  return (
    <div className="page grid max-w-[76rem] gap-x-16 gap-y-10 py-10 sm:py-14 lg:grid-cols-[minmax(0,28rem)_minmax(0,1fr)]">
      <title>{t`Create a channel · Weir`}</title>
      <div>
        <h1 className="text-xl font-semibold text-text">
          <Trans>Create a channel</Trans>
        </h1>
        <p className="mt-2 text-base text-soft">
          <Trans>
            A channel is what people watch. Its address stays the same from stream to stream, so you can share
            it right away.
          </Trans>
        </p>
        <form noValidate onSubmit={(event) => void submit(event)} className="mt-8 flex flex-col gap-5">
          <ProblemNotice error={problem} />
          <TextField
            label={t`Address`}
            before="/"
            hint={t`3 to 25 of a–z, 0–9 and _. It cannot be changed later.`}
            autoComplete="off"
            autoCapitalize="none"
            spellCheck={false}
            error={errors.handle?.message}
            {...form.register('handle')}
          />
          <TextField
            label={t`Title`}
            hint={t`What you show; you can change it at any time.`}
            autoComplete="off"
            error={errors.title?.message}
            {...form.register('title')}
          />
          <TextArea
            label={t`Description`}
            aside={t`optional`}
            error={errors.description?.message}
            {...form.register('description')}
          />
          <Button type="submit" kind="primary" size="large" isBusy={form.formState.isSubmitting}>
            <Trans>Create the channel</Trans>
          </Button>
        </form>
      </div>
      <div className="order-first lg:order-none lg:pt-2">
        <ChannelPreview handle={handle} title={title} />
      </div>
    </div>
  )
}
