import { Trans, useLingui } from '@lingui/react/macro'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Laptop, Smartphone } from 'lucide-react'
import { toast } from 'sonner'
import { client } from '@/api/client'
import { Button } from '@/ui/button'
import { Ago } from '@/ui/clock'
import { Failed } from '@/ui/failed'
import { ProblemNotice } from '@/ui/problem-notice'
import { Skeleton } from '@/ui/skeleton'
import { sessionsKey, sessionsQuery, type SessionItem } from './queries'

const phones = ['Android', 'iPhone', 'iPad']

export function SessionsPanel() {
  const { t } = useLingui()
  const queryClient = useQueryClient()
  const sessions = useQuery(sessionsQuery)
  const end = useMutation({
    mutationFn: async (id: string | null) => {
      if (id === null) await client.DELETE('/api/v1/auth/sessions')
      else await client.DELETE('/api/v1/auth/sessions/{id}', { params: { path: { id } } })
    },
    onSuccess: async () => {
      await queryClient.invalidateQueries({ queryKey: sessionsKey })
      toast.success(t`Signed out there.`)
    },
  })

  if (sessions.isPending) {
    return (
      <div role="status" aria-label={t`Loading your sessions`} className="flex flex-col gap-3">
        <Skeleton className="h-16 !rounded-lg" />
        <Skeleton className="h-16 !rounded-lg" />
      </div>
    )
  }
  if (sessions.data === undefined) {
    return (
      <Failed
        error={sessions.error}
        onRetry={() => void sessions.refetch()}
        isRetrying={sessions.isFetching}
      />
    )
  }
  const current = sessions.data.filter((session) => session.is_current)
  const others = sessions.data.filter((session) => !session.is_current)
  return (
    <div className="flex flex-col gap-3">
      <ProblemNotice error={end.error} />
      <ul className="flex flex-col divide-y divide-line rounded-lg border">
        {[...current, ...others].map((item) => (
          <SessionRow key={item.id} item={item} isBusy={end.isPending} onEnd={() => end.mutate(item.id)} />
        ))}
      </ul>
      {others.length > 1 && (
        <Button kind="danger" className="self-start" isBusy={end.isPending} onClick={() => end.mutate(null)}>
          <Trans>Sign out all other devices</Trans>
        </Button>
      )}
    </div>
  )
}

function SessionRow({ item, isBusy, onEnd }: { item: SessionItem; isBusy: boolean; onEnd: () => void }) {
  const { t } = useLingui()
  const { browser, system } = item
  const name =
    browser !== null && system !== null
      ? t`${browser} on ${system}`
      : (browser ?? system ?? t`A device that does not say what it is`)
  const isPhone = system !== null && phones.includes(system)
  return (
    <li className="flex flex-wrap items-center gap-x-4 gap-y-2 p-4">
      <span aria-hidden className="text-faint [&>svg]:size-5">
        {isPhone ? <Smartphone /> : <Laptop />}
      </span>
      <div className="min-w-0 grow basis-40">
        <p className="flex flex-wrap items-center gap-x-2 text-sm font-medium text-text">
          {name}
          {item.is_current && (
            <span className="rounded-sm bg-accent-wash px-1.5 py-0.5 text-xs text-accent-text">
              <Trans>This device</Trans>
            </span>
          )}
        </p>
        <p className="mt-0.5 text-xs text-faint">
          {item.network !== null && <>{item.network} · </>}
          <Trans>
            Signed in <Ago at={item.opened_at} />, last used <Ago at={item.last_used_at} />
          </Trans>
        </p>
      </div>
      {!item.is_current && (
        <Button onClick={onEnd} disabled={isBusy} aria-label={t`Sign out ${name}`}>
          {/* Of a device, which is another word in some languages than for oneself. */}
          <Trans context="device">Sign out</Trans>
        </Button>
      )}
    </li>
  )
}
