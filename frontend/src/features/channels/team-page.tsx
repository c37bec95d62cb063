import { Trans, useLingui } from '@lingui/react/macro'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate, useParams } from '@tanstack/react-router'
import { ArrowLeft, UsersRound } from 'lucide-react'
import { useState, type SubmitEvent } from 'react'
import { toast } from 'sonner'
import { settled } from '@/api/accepted'
import { api } from '@/api/client'
import { describeProblem } from '@/api/problem-words'
import { ProblemError } from '@/api/problem'
import { NotFoundPage } from '@/app/not-found-page'
import { useSession } from '@/features/accounts/session'
import { Avatar } from '@/ui/avatar'
import { Button } from '@/ui/button'
import { Ago } from '@/ui/clock'
import { Question } from '@/ui/dialog'
import { Empty } from '@/ui/empty'
import { Failed } from '@/ui/failed'
import { TextField } from '@/ui/field'
import { ProblemNotice } from '@/ui/problem-notice'
import { Skeleton } from '@/ui/skeleton'
import { channelQuery, teamQuery, type Channel, type TeamMember } from './queries'
import { roleWords } from './standing-words'

type Role = TeamMember['role']
const roles: readonly Role[] = ['moderator', 'editor']

/** Who helps with a channel: named by its owner, seen by each other. */
export function TeamPage() {
  const { t } = useLingui()
  const handle = useParams({ from: '/dashboard/$handle/team' }).handle.toLowerCase()
  const channel = useQuery(channelQuery(handle))
  if (channel.error instanceof ProblemError && channel.error.status === 404) return <NotFoundPage />
  return (
    <div className="page max-w-[56rem] py-8 sm:py-10">
      <title>{t`Team of ${handle} · Weir`}</title>
      <Link
        to="/dashboard/$handle"
        params={{ handle }}
        className="mb-2 inline-flex items-center gap-1.5 text-sm text-soft hover:text-text"
      >
        <ArrowLeft aria-hidden className="size-4" />
        {channel.data?.title ?? handle}
      </Link>
      <h1 className="text-xl font-semibold text-text">
        <Trans>Team</Trans>
      </h1>
      {channel.data === undefined ? (
        channel.isPending ? (
          <TeamSkeleton />
        ) : (
          <div className="mt-6">
            <Failed
              error={channel.error}
              onRetry={() => void channel.refetch()}
              isRetrying={channel.isFetching}
            />
          </div>
        )
      ) : (
        <Team channel={channel.data} />
      )}
    </div>
  )
}

function TeamSkeleton() {
  const { t } = useLingui()
  return (
    <div role="status" aria-label={t`Loading the team`} className="mt-6 flex flex-col gap-3">
      <Skeleton className="h-16 !rounded-lg" />
      <Skeleton className="h-16 !rounded-lg" />
    </div>
  )
}

function Team({ channel }: { channel: Channel }) {
  const state = useSession()
  const isAdministrator = state.status === 'signed-in' && state.account.is_administrator
  const isMine = channel.standing === 'owner'
  const mayChange = isMine || isAdministrator
  const team = useQuery(teamQuery(channel.handle))
  const { username } = channel.owner
  return (
    <>
      <p className="mt-1 text-sm text-soft">
        {isMine ? (
          <Trans>Those whom you trust with a part of the work. They need an account here.</Trans>
        ) : (
          <Trans>This channel belongs to {username}.</Trans>
        )}
      </p>
      {mayChange && <AddMember channel={channel} />}
      <div className="mt-8">
        {team.isPending ? (
          <TeamSkeleton />
        ) : team.data === undefined ? (
          <Failed error={team.error} onRetry={() => void team.refetch()} isRetrying={team.isFetching} />
        ) : team.data.length === 0 ? (
          <Empty icon={<UsersRound />} title={<Trans>Nobody has a role here yet</Trans>}>
            {mayChange ? (
              <Trans>Add somebody above by their username. They can leave when they like.</Trans>
            ) : (
              <Trans>The channel’s owner can name moderators and editors.</Trans>
            )}
          </Empty>
        ) : (
          <ul className="flex flex-col divide-y divide-line rounded-lg border">
            {team.data.map((member) => (
              <Member key={member.account.id} channel={channel} member={member} mayChange={mayChange} />
            ))}
          </ul>
        )}
      </div>
    </>
  )
}

function useTeamRefresh(handle: string) {
  const queryClient = useQueryClient()
  return () =>
    Promise.all([
      queryClient.invalidateQueries({ queryKey: teamQuery(handle).queryKey }),
      queryClient.invalidateQueries({ queryKey: channelQuery(handle).queryKey }),
      queryClient.invalidateQueries({ queryKey: ['channels'] }),
    ])
}

function AddMember({ channel }: { channel: Channel }) {
  const { t, i18n } = useLingui()
  const { handle } = channel
  const refresh = useTeamRefresh(handle)
  const give = api.useMutation('put', '/api/v1/channels/{handle}/team/{username}')
  const [username, setUsername] = useState('')
  const [role, setRole] = useState<Role>('moderator')
  const { error } = give
  const isAtField =
    error instanceof ProblemError && ['account_not_found', 'owner_needs_no_role'].includes(error.code)

  async function add(event: SubmitEvent) {
    event.preventDefault()
    const name = username.trim()
    if (name === '') return
    try {
      const path = { handle, username: name }
      settled(await give.mutateAsync({ params: { path }, body: { role } }))
      await refresh()
      setUsername('')
      toast.success(t`${name} is in the team.`)
    } catch {
      // Said at the field or above it.
    }
  }

  return (
    <form
      noValidate
      onSubmit={(event) => void add(event)}
      className="mt-6 flex flex-col gap-5 rounded-lg border bg-raised p-4 sm:p-6"
    >
      {error !== null && !isAtField && <ProblemNotice error={error} />}
      <TextField
        label={t`Username`}
        autoComplete="off"
        autoCapitalize="none"
        spellCheck={false}
        maxLength={25}
        value={username}
        error={isAtField ? describeProblem(error, i18n) : undefined}
        onChange={(event) => {
          give.reset()
          setUsername(event.currentTarget.value)
        }}
      />
      <fieldset className="flex flex-col gap-3">
        <legend className="mb-2 text-sm font-medium text-text">
          <Trans>Role</Trans>
        </legend>
        {roles.map((value) => {
          const { name, meaning } = roleWords[value]
          return (
            <label key={value} className="grid grid-cols-[auto_minmax(0,1fr)] gap-x-3 text-sm text-text">
              <input
                type="radio"
                name="role"
                value={value}
                checked={role === value}
                onChange={() => setRole(value)}
                className="mt-0.5 size-4 accent-accent"
              />
              <span className="font-medium">{name}</span>
              <span className="col-start-2 mt-0.5 text-faint">{meaning}</span>
            </label>
          )
        })}
      </fieldset>
      <Button
        type="submit"
        kind="primary"
        className="self-start"
        isBusy={give.isPending}
        disabled={username.trim() === '' || give.isPending}
      >
        <Trans>Add to the team</Trans>
      </Button>
    </form>
  )
}

function Member({
  channel,
  member,
  mayChange,
}: {
  channel: Channel
  member: TeamMember
  mayChange: boolean
}) {
  const { t, i18n } = useLingui()
  const { handle } = channel
  const { username } = member.account
  const state = useSession()
  const isMe = state.status === 'signed-in' && state.account.id === member.account.id
  const refresh = useTeamRefresh(handle)
  const give = api.useMutation('put', '/api/v1/channels/{handle}/team/{username}')
  const [asks, setAsks] = useState(false)

  async function change(role: Role) {
    try {
      const path = { handle, username }
      settled(await give.mutateAsync({ params: { path }, body: { role } }))
      await refresh()
      toast.success(t`Saved`)
    } catch (error) {
      toast.error(describeProblem(error, i18n))
    }
  }

  return (
    <li className="flex flex-wrap items-center gap-x-4 gap-y-3 p-4">
      <Avatar name={username} className="size-10" />
      <div className="min-w-0 grow basis-40">
        <p className="truncate text-sm font-medium text-text">
          {username}
          {isMe && (
            <span className="ml-2 text-xs font-normal text-faint">
              <Trans>You</Trans>
            </span>
          )}
        </p>
        <p className="mt-0.5 text-xs text-faint">
          {!mayChange && (
            <>
              {roleWords[member.role].name}
              {' · '}
            </>
          )}
          <Ago at={member.given_at} />
        </p>
      </div>
      {mayChange && (
        <select
          aria-label={t`Role of ${username}`}
          value={member.role}
          disabled={give.isPending}
          onChange={(event) => void change(event.target.value as Role)}
          className="h-10 rounded-sm border border-line-strong/70 bg-raised px-3 text-sm text-text"
        >
          <option value="moderator">{t({ message: 'Moderator', context: 'role' })}</option>
          <option value="editor">{t({ message: 'Editor', context: 'role' })}</option>
        </select>
      )}
      {(mayChange || isMe) && (
        <Button onClick={() => setAsks(true)}>
          {isMe ? <Trans>Leave</Trans> : <Trans>Remove</Trans>}
          {!isMe && <span className="sr-only"> {username}</span>}
        </Button>
      )}
      {asks && (
        <Removal
          channel={channel}
          username={username}
          isMe={isMe}
          onClose={() => setAsks(false)}
          onGone={refresh}
        />
      )}
    </li>
  )
}

function Removal({
  channel,
  username,
  isMe,
  onClose,
  onGone,
}: {
  channel: Channel
  username: string
  isMe: boolean
  onClose: () => void
  onGone: () => Promise<unknown>
}) {
  const { t } = useLingui()
  const navigate = useNavigate()
  const queryClient = useQueryClient()
  const take = api.useMutation('delete', '/api/v1/channels/{handle}/team/{username}')
  const { handle, title } = channel

  async function go() {
    try {
      await take.mutateAsync({ params: { path: { handle, username } } })
    } catch {
      // Shown in the dialog, which stays open.
      return
    }
    if (isMe) {
      toast.success(t`You have left the team of ${handle}.`)
      await navigate({ to: '/dashboard' })
      await queryClient.invalidateQueries({ queryKey: ['channels'] })
      queryClient.removeQueries({ queryKey: channelQuery(handle).queryKey })
      return
    }
    await onGone()
    toast.success(t`${username} has no role any more.`)
  }

  return (
    <Question
      open
      onOpenChange={(open) => {
        if (!open) onClose()
      }}
      title={isMe ? <Trans>Leave the team?</Trans> : <Trans>Take {username} out of the team?</Trans>}
      footer={
        <>
          <Button onClick={onClose}>
            <Trans>Cancel</Trans>
          </Button>
          <Button kind="danger" isBusy={take.isPending} onClick={() => void go()}>
            {isMe ? <Trans>Leave</Trans> : <Trans>Remove</Trans>}
          </Button>
        </>
      }
    >
      <p>
        {isMe ? (
          <Trans>You can do nothing more for “{title}” until its owner adds you again.</Trans>
        ) : (
          <Trans>They can do nothing more for “{title}” from that moment.</Trans>
        )}
      </p>
      <ProblemNotice error={take.error} />
    </Question>
  )
}
