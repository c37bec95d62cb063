import { zodResolver } from '@hookform/resolvers/zod'
import { Trans, useLingui } from '@lingui/react/macro'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useEffect, useState } from 'react'
import { useForm, useWatch } from 'react-hook-form'
import { toast } from 'sonner'
import { settled } from '@/api/accepted'
import { api } from '@/api/client'
import { showAtFields } from '@/api/form-problems'
import { Button } from '@/ui/button'
import { z } from '@/ui/checks'
import { Failed } from '@/ui/failed'
import { TextArea, TextField } from '@/ui/field'
import { ProblemNotice } from '@/ui/problem-notice'
import { Skeleton } from '@/ui/skeleton'
import { AvatarForm } from './avatar-form'
import { profileQuery, type Profile } from './profile-queries'

const nameMost = 50
const bioMost = 500

interface Words {
  display_name: string
  bio: string
}

/** What everybody sees of one. */
export function ProfilePanel() {
  const { t } = useLingui()
  const profile = useQuery(profileQuery)
  if (profile.data !== undefined) {
    return (
      <div className="flex flex-col gap-7">
        <AvatarForm profile={profile.data} />
        <ProfileForm profile={profile.data} />
      </div>
    )
  }
  if (profile.isError) {
    return (
      <Failed error={profile.error} onRetry={() => void profile.refetch()} isRetrying={profile.isFetching} />
    )
  }
  return (
    <div role="status" aria-label={t`Loading your profile`} className="flex flex-col gap-5">
      <Skeleton className="size-24 !rounded-full" />
      <Skeleton className="h-11" />
      <Skeleton className="h-32" />
    </div>
  )
}

/** As the server counts. */
function lengthOf(text: string): number {
  return Array.from(text.trim()).length
}

function ProfileForm({ profile }: { profile: Profile }) {
  const { t, i18n } = useLingui()
  const queryClient = useQueryClient()
  const [problem, setProblem] = useState<unknown>(null)
  const edit = api.useMutation('patch', '/api/v1/me')
  const form = useForm<Words>({
    resolver: zodResolver(
      z.object({
        display_name: z.string().refine((text) => lengthOf(text) <= nameMost, t`At most 50 characters.`),
        bio: z.string().refine((text) => lengthOf(text) <= bioMost, t`At most 500 characters.`),
      }),
    ),
    defaultValues: wordsOf(profile),
    mode: 'onTouched',
  })
  const { errors, isDirty, isSubmitting, dirtyFields } = form.formState
  const [name, bio] = useWatch({ control: form.control, name: ['display_name', 'bio'] })

  // What another device changed is taken over as long as nothing here would be lost by it.
  useEffect(() => {
    if (!form.formState.isDirty) form.reset(wordsOf(profile))
  }, [profile, form])

  const submit = form.handleSubmit(async (words) => {
    setProblem(null)
    // What was not touched here stays as it is, whatever it is by now.
    const body = {
      ...(dirtyFields.display_name === true ? { display_name: words.display_name } : {}),
      ...(dirtyFields.bio === true ? { bio: words.bio } : {}),
    }
    try {
      const saved = settled(await edit.mutateAsync({ body }))
      form.reset(wordsOf(saved))
      queryClient.setQueryData(profileQuery.queryKey, saved)
      void queryClient.invalidateQueries({ queryKey: ['account', saved.username] })
      void queryClient.invalidateQueries({ queryKey: ['channels'] })
      void queryClient.invalidateQueries({ queryKey: ['channel'] })
      toast.success(t`Saved`)
    } catch (error) {
      if (!showAtFields(error, ['display_name', 'bio'], {}, form.setError, i18n)) setProblem(error)
    }
  })

  return (
    <form noValidate onSubmit={(event) => void submit(event)} className="flex max-w-xl flex-col gap-5">
      <ProblemNotice error={problem} />
      <TextField
        label={t`Display name`}
        aside={`${lengthOf(name)} / ${nameMost}`}
        hint={t`What you are called beside your username ${profile.username}. May be empty.`}
        autoComplete="nickname"
        error={errors.display_name?.message}
        {...form.register('display_name')}
      />
      <TextArea
        label={t`About you`}
        aside={`${lengthOf(bio)} / ${bioMost}`}
        rows={5}
        error={errors.bio?.message}
        {...form.register('bio')}
      />
      <div className="flex flex-wrap items-center gap-3">
        <Button type="submit" kind="primary" isBusy={isSubmitting} disabled={!isDirty || isSubmitting}>
          <Trans>Save</Trans>
        </Button>
        {isDirty && (
          <Button kind="bare" onClick={() => form.reset()}>
            <Trans>Undo changes</Trans>
          </Button>
        )}
        <Link
          to="/accounts/$username"
          params={{ username: profile.username }}
          className="text-sm font-medium text-accent-text hover:underline sm:ml-auto"
        >
          <Trans>See your page</Trans>
        </Link>
      </div>
    </form>
  )
}

function wordsOf({ display_name, bio }: Profile): Words {
  return { display_name: display_name ?? '', bio }
}
