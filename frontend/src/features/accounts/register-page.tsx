import { zodResolver } from '@hookform/resolvers/zod'
import { Trans, useLingui } from '@lingui/react/macro'
import { useQuery } from '@tanstack/react-query'
import { Link, useLocation, useNavigate, useSearch } from '@tanstack/react-router'
import { useState } from 'react'
import { useForm } from 'react-hook-form'
import { z } from '@/ui/checks'
import { settled } from '@/api/accepted'
import { api } from '@/api/client'
import { showAtFields } from '@/api/form-problems'
import { registrationQuery, type RegistrationMode } from '@/features/registrations/queries'
import { Button } from '@/ui/button'
import { TextField } from '@/ui/field'
import { Notice } from '@/ui/notice'
import { ProblemNotice } from '@/ui/problem-notice'
import { Skeleton } from '@/ui/skeleton'
import { Gate } from './gate'
import { mailLanguage } from './mailed-code'
import { nameRule } from './rules'
import { session } from './session'

/** As `weir up` prints it. */
const setupTokenIs = 'setup_token='

export function RegisterPage() {
  const { t, i18n } = useLingui()
  const { next } = useSearch({ from: '/register' })
  // What comes after the # was sent to no server: a set-up token, named so, or the secret of an invite.
  const hash = useLocation({ select: (location) => location.hash }).trim()
  const [givenToken] = useState(() => (hash.startsWith(setupTokenIs) ? hash.slice(setupTokenIs.length) : ''))
  const [withToken, setWithToken] = useState(givenToken !== '')
  const invite = hash.startsWith(setupTokenIs) ? '' : hash
  const registration = useQuery(registrationQuery)
  const mode = registration.data ?? 'open'
  const [problem, setProblem] = useState<unknown>(null)
  const navigate = useNavigate()
  const register = api.useMutation('post', '/api/v1/auth/register')
  const form = useForm({
    resolver: zodResolver(
      z.object({
        username: nameRule(i18n),
        email: z
          .string()
          .trim()
          .min(1, t`Fill this in.`)
          .regex(/^[^\s@]+@[^\s@]+$/, t`This is not an e-mail address.`),
        password: z
          .string()
          .min(1, t`Fill this in.`)
          .min(8, t`At least 8 characters.`)
          .max(128, t`At most 128 characters.`),
        setup_token: z.string().trim(),
      }),
    ),
    defaultValues: { username: '', email: '', password: '', setup_token: givenToken },
    mode: 'onTouched',
  })
  const { errors } = form.formState
  // The set-up token is good at any time.
  const isShut = !withToken && (mode === 'closed' || (mode === 'invite' && invite === ''))

  const submit = form.handleSubmit(async ({ setup_token, ...person }) => {
    setProblem(null)
    try {
      const invited = mode === 'invite' && invite !== '' ? { invite } : {}
      const chosen = { ...person, ...invited, language: mailLanguage(i18n.locale) }
      const body = withToken && setup_token !== '' ? { ...chosen, setup_token } : chosen
      await session.beginBy(async () => settled(await register.mutateAsync({ body })))
    } catch (error) {
      const isShown = showAtFields(
        error,
        ['username', 'email', 'password', 'setup_token'],
        { username_taken: 'username', setup_token_invalid: 'setup_token' },
        form.setError,
        i18n,
      )
      if (!isShown) setProblem(error)
      return
    }
    await navigate({ to: next ?? '/new-channel', replace: true })
  })

  return (
    <Gate
      title={<Trans>Make an account</Trans>}
      intro={<Trans>With an account you can open channels and go live from OBS. Watching needs none.</Trans>}
      footer={
        <Trans>
          Have an account already?{' '}
          <Link
            to="/sign-in"
            search={next === undefined ? {} : { next }}
            className="font-medium text-accent-text underline underline-offset-4"
          >
            Sign in
          </Link>
        </Trans>
      }
    >
      <title>{t`Register · Weir`}</title>
      {registration.isPending ? (
        <div role="status" aria-label={t`Loading who may register`} className="flex flex-col gap-5">
          <Skeleton className="h-16" />
          <Skeleton className="h-16" />
        </div>
      ) : isShut ? (
        <Shut mode={mode} onToken={() => setWithToken(true)} />
      ) : (
        <form noValidate onSubmit={(event) => void submit(event)} className="flex flex-col gap-5">
          <ProblemNotice error={problem} />
          {mode === 'invite' && !withToken && (
            <Notice tone="info" title={<Trans>You are invited</Trans>}>
              <Trans>Somebody who keeps this Weir gave you a link to make an account.</Trans>
            </Notice>
          )}
          {withToken && (
            <Notice tone="info" title={<Trans>This account becomes the administrator</Trans>}>
              <Trans>
                With the set-up token that Weir printed when it first started, you take charge of this server.
              </Trans>
            </Notice>
          )}
          <TextField
            label={t`Username`}
            hint={t`3 to 25 of a–z, 0–9 and _. Everybody sees it.`}
            autoComplete="username"
            autoCapitalize="none"
            spellCheck={false}
            error={errors.username?.message}
            {...form.register('username')}
          />
          <TextField
            label={t`E-mail`}
            hint={t`Only you see it.`}
            type="email"
            inputMode="email"
            autoComplete="email"
            error={errors.email?.message}
            {...form.register('email')}
          />
          <TextField
            label={t`Password`}
            hint={t`8 to 128 characters; a few words in a row are good.`}
            type="password"
            autoComplete="new-password"
            error={errors.password?.message}
            {...form.register('password')}
          />
          {withToken ? (
            <TextField
              label={t`Set-up token`}
              autoComplete="off"
              spellCheck={false}
              className="font-mono"
              error={errors.setup_token?.message}
              {...form.register('setup_token')}
            />
          ) : (
            <button
              type="button"
              onClick={() => setWithToken(true)}
              className="self-start rounded-sm text-sm text-faint underline underline-offset-4 hover:text-text"
            >
              <Trans>I have a set-up token</Trans>
            </button>
          )}
          <Button type="submit" kind="primary" size="large" isBusy={form.formState.isSubmitting}>
            <Trans>Register</Trans>
          </Button>
        </form>
      )}
    </Gate>
  )
}

/** In place of the form, where nobody gets an account by it. */
function Shut({ mode, onToken }: { mode: RegistrationMode; onToken: () => void }) {
  return (
    <div className="flex flex-col gap-5">
      {mode === 'closed' ? (
        <Notice tone="warning" title={<Trans>Registration is closed</Trans>}>
          <Trans>Nobody can make an account here at the moment. Ask whoever keeps this Weir.</Trans>
        </Notice>
      ) : (
        <Notice tone="info" title={<Trans>An account takes an invite here</Trans>}>
          <Trans>Ask whoever keeps this Weir for a link, and open it. Watching needs no account.</Trans>
        </Notice>
      )}
      <button
        type="button"
        onClick={onToken}
        className="self-start rounded-sm text-sm text-faint underline underline-offset-4 hover:text-text"
      >
        <Trans>I have a set-up token</Trans>
      </button>
    </div>
  )
}
