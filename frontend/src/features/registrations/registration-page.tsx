import { Plural, Trans, useLingui } from '@lingui/react/macro'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { DoorClosed, DoorOpen, Link2, Ticket, Trash2 } from 'lucide-react'
import { useId, useState, type ReactNode, type SubmitEvent } from 'react'
import { toast } from 'sonner'
import { settled } from '@/api/accepted'
import { api } from '@/api/client'
import { Button, IconButton } from '@/ui/button'
import { classes } from '@/ui/classes'
import { CopyField } from '@/ui/copy-field'
import { Question } from '@/ui/dialog'
import { Failed } from '@/ui/failed'
import { TextField } from '@/ui/field'
import { Notice } from '@/ui/notice'
import { ProblemNotice } from '@/ui/problem-notice'
import { Skeleton } from '@/ui/skeleton'
import {
  registrationInvitesQuery,
  registrationQuery,
  type NewRegistrationInvite,
  type RegistrationInvite,
  type RegistrationMode,
} from './queries'

const modes: { mode: RegistrationMode; name: ReactNode; meaning: ReactNode; icon: ReactNode }[] = [
  {
    mode: 'open',
    name: <Trans context="registration">Open</Trans>,
    meaning: <Trans>Everybody can make an account.</Trans>,
    icon: <DoorOpen />,
  },
  {
    mode: 'invite',
    name: <Trans context="registration">By invite</Trans>,
    meaning: <Trans>Whoever has a link of yours can make an account.</Trans>,
    icon: <Ticket />,
  },
  {
    mode: 'closed',
    name: <Trans context="registration">Closed</Trans>,
    meaning: <Trans>Nobody can make an account. Those that exist stay as they are.</Trans>,
    icon: <DoorClosed />,
  },
]
const mostUses = 1000

/** Who may make an account, for administrators. */
export function RegistrationPage() {
  const { t } = useLingui()
  const mode = useQuery(registrationQuery)
  return (
    <>
      <title>{t`Registration · Weir`}</title>
      <h1 className="text-xl font-semibold text-text">
        <Trans>Registration</Trans>
      </h1>
      <p className="mt-1 text-sm text-soft">
        <Trans>Who may make an account here. A change holds at once.</Trans>
      </p>
      <div className="mt-6">
        {mode.isPending ? (
          <div role="status" aria-label={t`Loading who may register`} className="flex flex-col gap-2">
            <Skeleton className="h-16" />
            <Skeleton className="h-16" />
            <Skeleton className="h-16" />
          </div>
        ) : mode.data === undefined ? (
          <Failed error={mode.error} onRetry={() => void mode.refetch()} isRetrying={mode.isFetching} />
        ) : (
          <ModeForm mode={mode.data} />
        )}
      </div>
      <section className="mt-10 border-t pt-8">
        <h2 className="text-base font-semibold text-text">
          <Trans>Invites</Trans>
        </h2>
        <p className="mt-1 text-sm text-faint">
          {mode.data === 'invite' ? (
            <Trans>By such a link accounts can be made, for as long and as often as it says.</Trans>
          ) : (
            <Trans>An invite counts while registration is by invite.</Trans>
          )}
        </p>
        <Invites />
      </section>
    </>
  )
}

function ModeForm({ mode }: { mode: RegistrationMode }) {
  const { t } = useLingui()
  const queryClient = useQueryClient()
  const change = api.useMutation('patch', '/api/v1/admin/settings')
  // What was chosen is shown as such while it is saved; a field that cannot be used would lose the focus of the keyboard.
  const shown = change.isPending ? (change.variables.body.registration ?? mode) : mode
  async function choose(registration: RegistrationMode) {
    if (change.isPending) return
    try {
      const saved = await change.mutateAsync({ body: { registration } })
      queryClient.setQueryData(registrationQuery.queryKey, saved.registration)
      toast.success(t`Saved`)
    } catch {
      // Said above the choices.
    }
  }
  return (
    <fieldset aria-busy={change.isPending} className="flex flex-col gap-2">
      <legend className="sr-only">
        <Trans>Who may make an account</Trans>
      </legend>
      <ProblemNotice error={change.error} />
      {modes.map((choice) => (
        <label
          key={choice.mode}
          className={classes(
            'flex cursor-pointer items-start gap-4 rounded-lg border p-4 transition-colors has-focus-visible:outline-2 has-focus-visible:outline-accent-text',
            shown === choice.mode
              ? 'border-accent-text bg-accent-wash'
              : 'bg-raised hover:border-line-strong',
          )}
        >
          <input
            type="radio"
            name="registration"
            value={choice.mode}
            checked={shown === choice.mode}
            onChange={() => void choose(choice.mode)}
            className="mt-0.5 size-4 shrink-0 accent-accent"
          />
          <span className="min-w-0 grow">
            <span className="block text-sm font-medium text-text">{choice.name}</span>
            <span className="mt-0.5 block text-sm text-soft">{choice.meaning}</span>
          </span>
          <span aria-hidden className="text-faint [&>svg]:size-5">
            {choice.icon}
          </span>
        </label>
      ))}
    </fieldset>
  )
}

function Invites() {
  const { t } = useLingui()
  const queryClient = useQueryClient()
  const invites = useQuery(registrationInvitesQuery)
  const [made, setMade] = useState<NewRegistrationInvite | null>(null)
  const refresh = () => queryClient.invalidateQueries({ queryKey: registrationInvitesQuery.queryKey })
  return (
    <div className="mt-5 flex flex-col gap-5">
      <NewInvite
        onMade={(invite) => {
          setMade(invite)
          void refresh()
        }}
      />
      {made !== null && (
        <Notice tone="info" title={<Trans>Copy the link now: it is not shown again.</Trans>}>
          <div className="mt-3">
            <CopyField label={t`Link`} value={made.url} testId="registration-invite" />
          </div>
        </Notice>
      )}
      {invites.isPending ? (
        <div role="status" aria-label={t`Loading the invites`}>
          <Skeleton className="h-16 !rounded-lg" />
        </div>
      ) : invites.data === undefined ? (
        <Failed
          error={invites.error}
          onRetry={() => void invites.refetch()}
          isRetrying={invites.isFetching}
        />
      ) : invites.data.length === 0 ? (
        <p className="rounded-sm border border-dashed border-line-strong/60 px-4 py-6 text-center text-sm text-faint">
          <Trans>No invites yet.</Trans>
        </p>
      ) : (
        <ul className="flex flex-col divide-y divide-line rounded-lg border">
          {invites.data.map((invite) => (
            <OneInvite
              key={invite.id}
              invite={invite}
              onGone={() => {
                if (made?.invite.id === invite.id) setMade(null)
                return refresh()
              }}
            />
          ))}
        </ul>
      )}
    </div>
  )
}

function NewInvite({ onMade }: { onMade: (made: NewRegistrationInvite) => void }) {
  const { t } = useLingui()
  const id = useId()
  const create = api.useMutation('post', '/api/v1/admin/registration-invites')
  const [uses, setUses] = useState('1')
  const [days, setDays] = useState<number | null>(7)
  const count = Number(uses)
  const isGood = Number.isInteger(count) && count >= 1 && count <= mostUses

  async function submit(event: SubmitEvent) {
    event.preventDefault()
    if (!isGood) return
    try {
      const body = { max_uses: count, ...(days === null ? {} : { days }) }
      onMade(settled(await create.mutateAsync({ body })))
    } catch {
      // Said above the fields.
    }
  }

  return (
    <form noValidate onSubmit={(event) => void submit(event)} className="flex flex-col gap-4">
      <ProblemNotice error={create.error} />
      <div className="grid gap-4 sm:grid-cols-2">
        <TextField
          label={t`For how many accounts`}
          inputMode="numeric"
          autoComplete="off"
          value={uses}
          error={isGood ? undefined : t`Use a whole number from 1 to 1000.`}
          onChange={(event) => setUses(event.currentTarget.value)}
        />
        <div className="flex flex-col gap-1.5">
          <label htmlFor={id} className="text-sm font-medium text-text">
            <Trans>How long it is good</Trans>
          </label>
          <select
            id={id}
            value={days ?? 'ever'}
            onChange={(event) => setDays(event.target.value === 'ever' ? null : Number(event.target.value))}
            className="h-11 rounded-sm border border-line-strong/70 bg-raised px-3 text-sm text-text"
          >
            <option value={1}>{t`A day`}</option>
            <option value={7}>{t`A week`}</option>
            <option value={30}>{t`A month`}</option>
            <option value="ever">{t`Until I take it back`}</option>
          </select>
        </div>
      </div>
      <Button
        type="submit"
        kind="primary"
        className="self-start"
        icon={<Link2 aria-hidden className="size-4" />}
        isBusy={create.isPending}
        disabled={!isGood || create.isPending}
      >
        <Trans>Make an invite</Trans>
      </Button>
    </form>
  )
}

function OneInvite({ invite, onGone }: { invite: RegistrationInvite; onGone: () => Promise<unknown> }) {
  const { t, i18n } = useLingui()
  const [asks, setAsks] = useState(false)
  const revoke = api.useMutation('delete', '/api/v1/admin/registration-invites/{id}')
  const made = i18n.date(new Date(invite.created_at), { dateStyle: 'medium', timeStyle: 'short' })
  const { uses, max_uses: most } = invite
  async function go() {
    try {
      await revoke.mutateAsync({ params: { path: { id: invite.id } } })
      await onGone()
      toast.success(t`Taken back`)
    } catch {
      // Shown in the dialog, which stays open.
    }
  }
  return (
    <li className="flex items-center gap-4 p-4">
      <div className="min-w-0 grow">
        <p className="text-sm font-medium text-text">
          <Trans>Invite of {made}</Trans>
        </p>
        <p className="mt-0.5 text-xs text-faint">
          <Trans>
            {uses} of <Plural value={most} one="# account" other="# accounts" /> made
          </Trans>
          {' · '}
          {uses >= most ? <Trans>Used up.</Trans> : <InviteLife expiresAt={invite.expires_at} />}
        </p>
      </div>
      <IconButton label={t`Take back the invite of ${made}`} onClick={() => setAsks(true)}>
        <Trash2 aria-hidden className="size-[1.125rem]" />
      </IconButton>
      {asks && (
        <Question
          open
          onOpenChange={(open) => {
            if (!open) setAsks(false)
          }}
          title={<Trans>Take this invite back?</Trans>}
          footer={
            <>
              <Button onClick={() => setAsks(false)}>
                <Trans>Keep it</Trans>
              </Button>
              <Button kind="danger" isBusy={revoke.isPending} onClick={() => void go()}>
                <Trans>Take it back</Trans>
              </Button>
            </>
          }
        >
          <p>
            <Trans>
              Nobody can make an account by its link any more. Accounts that were made by it stay.
            </Trans>
          </p>
          <ProblemNotice error={revoke.error} />
        </Question>
      )}
    </li>
  )
}

function InviteLife({ expiresAt }: { expiresAt: string | null }) {
  const [now] = useState(() => Date.now())
  if (expiresAt === null) return <Trans>Good until you take it back.</Trans>
  const days = Math.ceil((Date.parse(expiresAt) - now) / 86_400_000)
  return (
    <Trans>
      Good for <Plural value={days} one="# more day" other="# more days" />.
    </Trans>
  )
}
