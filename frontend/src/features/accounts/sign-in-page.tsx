import { zodResolver } from '@hookform/resolvers/zod'
import { Trans, useLingui } from '@lingui/react/macro'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { useState } from 'react'
import { useForm } from 'react-hook-form'
import { toast } from 'sonner'
import { z } from '@/ui/checks'
import { api } from '@/api/client'
import { ProblemError } from '@/api/problem'
import { Button } from '@/ui/button'
import { TextField } from '@/ui/field'
import { ProblemNotice } from '@/ui/problem-notice'
import { Gate } from './gate'
import { CodeField } from './proof-fields'
import { session } from './session'
import { SuspensionNotice } from './suspension-notice'

export function SignInPage() {
  const { t } = useLingui()
  const { next } = useSearch({ from: '/sign-in' })
  const navigate = useNavigate()
  const login = api.useMutation('post', '/api/v1/auth/login')
  const [asksForCode, setAsksForCode] = useState(false)
  const [code, setCode] = useState('')
  const form = useForm({
    resolver: zodResolver(
      z.object({
        username: z
          .string()
          .trim()
          .min(1, t`Fill this in.`),
        password: z.string().min(1, t`Fill this in.`),
      }),
    ),
    defaultValues: { username: '', password: '' },
  })
  const { errors } = form.formState
  // That a code is needed is no fault: the field says it.
  const suspension = login.error instanceof ProblemError ? login.error.suspension : undefined
  const isOnlyAsked = login.error instanceof ProblemError && login.error.code === 'second_factor_required'

  const submit = form.handleSubmit(async (body) => {
    try {
      const typed = code.trim()
      const answer = await session.beginBy(() =>
        login.mutateAsync({ body: typed === '' ? body : { ...body, code: typed } }),
      )
      if (answer.has_cancelled_erasure === true)
        toast.success(t`Your account stays: its deletion is called off.`, { duration: 10_000 })
    } catch (error) {
      const why = error instanceof ProblemError ? error.code : ''
      if (why === 'second_factor_required') setAsksForCode(true)
      // Where nothing typed was wrong, a keyboard on a phone would only hide why.
      else if (why === 'credentials_wrong') form.setFocus('password', { shouldSelect: true })
      setCode('')
      return
    }
    await navigate({ to: next ?? '/dashboard', replace: true })
  })

  return (
    <Gate
      title={<Trans>Sign in</Trans>}
      intro={next === undefined ? undefined : <Trans>Sign in to go on to the page you asked for.</Trans>}
      footer={
        <Trans>
          New here?{' '}
          <Link
            to="/register"
            search={next === undefined ? {} : { next }}
            className="font-medium text-accent-text underline underline-offset-4"
          >
            Register
          </Link>
        </Trans>
      }
    >
      <title>{t`Sign in · Weir`}</title>
      <form noValidate onSubmit={(event) => void submit(event)} className="flex flex-col gap-5">
        {suspension !== undefined && <SuspensionNotice suspension={suspension} />}
        {!isOnlyAsked && suspension === undefined && <ProblemNotice error={login.error} />}
        <TextField
          label={t`Username`}
          autoComplete="username"
          autoCapitalize="none"
          spellCheck={false}
          error={errors.username?.message}
          {...form.register('username')}
        />
        <TextField
          label={t`Password`}
          type="password"
          autoComplete="current-password"
          error={errors.password?.message}
          {...form.register('password')}
        />
        <Link
          to="/reset-password"
          className="-mt-2 self-start rounded-sm text-sm text-faint underline underline-offset-4 hover:text-text"
        >
          <Trans>Forgot your password?</Trans>
        </Link>
        {asksForCode && <CodeField takesFocus value={code} onChange={setCode} />}
        <Button type="submit" kind="primary" size="large" isBusy={form.formState.isSubmitting}>
          <Trans>Sign in</Trans>
        </Button>
      </form>
    </Gate>
  )
}
