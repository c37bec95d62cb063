import type { MessageDescriptor } from '@lingui/core'
import { msg } from '@lingui/core/macro'
import { Plural, Trans, useLingui } from '@lingui/react/macro'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Link2, Trash2 } from 'lucide-react'
import { useId, useState } from 'react'
import { toast } from 'sonner'
import { api } from '@/api/client'
import type { Visibility } from '@/features/channels/visibility-words'
import { Button, IconButton } from '@/ui/button'
import { CopyField } from '@/ui/copy-field'
import { Question } from '@/ui/dialog'
import { Failed } from '@/ui/failed'
import { ProblemNotice } from '@/ui/problem-notice'
import { Skeleton } from '@/ui/skeleton'
import { invitesQuery, type Invite } from './queries'

const lives: { days: number | null; text: MessageDescriptor }[] = [
  { days: 1, text: msg`A day` },
  { days: 7, text: msg`A week` },
  { days: 30, text: msg`A month` },
  { days: null, text: msg`Until I take it back` },
]

/** Links that let their bearers watch, with or without an account: made, copied and taken back. */
export function InvitesPanel({ handle, visibility }: { handle: string; visibility: Visibility }) {
  const { t, i18n } = useLingui()
  const queryClient = useQueryClient()
  const id = useId()
  const [days, setDays] = useState<number | null>(7)
  const invites = useQuery(invitesQuery(handle))
  const make = api.useMutation('post', '/api/v1/channels/{handle}/invites')
  const refresh = () => queryClient.invalidateQueries({ queryKey: invitesQuery(handle).queryKey })

  async function create() {
    try {
      await make.mutateAsync({ params: { path: { handle } }, body: days === null ? {} : { days } })
      await refresh()
      toast.success(t`The invite is made. Copy its link and send it.`)
    } catch {
      // Said below the button.
    }
  }

  return (
    <div className="flex flex-col gap-4">
      <p className="text-sm text-faint">
        {visibility === 'private' ? (
          <Trans>
            Whoever has such a link may watch, with or without an account. Take it back, and they are sent
            away within a second.
          </Trans>
        ) : (
          <Trans>
            Everybody who has the address may watch already. An invite counts once the channel is private.
          </Trans>
        )}
      </p>
      <div className="flex flex-wrap items-end gap-3">
        <div className="flex grow flex-col gap-1.5">
          <label htmlFor={id} className="text-sm font-medium text-text">
            <Trans>How long it is good</Trans>
          </label>
          <select
            id={id}
            value={days ?? 'ever'}
            onChange={(event) => setDays(event.target.value === 'ever' ? null : Number(event.target.value))}
            className="h-11 rounded-sm border border-line-strong/70 bg-raised px-3 text-sm text-text"
          >
            {lives.map((life) => (
              <option key={life.days ?? 'ever'} value={life.days ?? 'ever'}>
                {i18n._(life.text)}
              </option>
            ))}
          </select>
        </div>
        <Button
          kind="primary"
          icon={<Link2 aria-hidden className="size-4" />}
          isBusy={make.isPending}
          onClick={() => void create()}
        >
          <Trans>Make an invite</Trans>
        </Button>
      </div>
      <ProblemNotice error={make.error} />
      {invites.isPending ? (
        <Skeleton className="h-16" />
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
        <ul className="flex flex-col gap-4">
          {invites.data.map((invite) => (
            <OneInvite key={invite.id} handle={handle} invite={invite} onGone={refresh} />
          ))}
        </ul>
      )}
    </div>
  )
}

function OneInvite({
  handle,
  invite,
  onGone,
}: {
  handle: string
  invite: Invite
  onGone: () => Promise<unknown>
}) {
  const { t, i18n } = useLingui()
  const [asks, setAsks] = useState(false)
  const revoke = api.useMutation('delete', '/api/v1/channels/{handle}/invites/{id}')
  const made = i18n.date(new Date(invite.created_at), { dateStyle: 'medium', timeStyle: 'short' })
  async function go() {
    try {
      await revoke.mutateAsync({ params: { path: { handle, id: invite.id } } })
      await onGone()
      setAsks(false)
      toast.success(t`Taken back`)
    } catch {
      // Shown in the dialog, which stays open.
    }
  }
  return (
    <li className="flex items-end gap-2">
      <div className="min-w-0 grow">
        <CopyField label={t`Invite of ${made}`} value={invite.url} isSecret />
        <p className="mt-1 text-xs text-faint">
          <InviteLife expiresAt={invite.expires_at} />
        </p>
      </div>
      <IconButton label={t`Take back the invite of ${made}`} onClick={() => setAsks(true)} className="mb-5">
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
            <Trans>Its link lets nobody in any more, and whoever watches by it is sent away at once.</Trans>
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
