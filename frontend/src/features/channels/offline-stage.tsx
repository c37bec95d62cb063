import { Trans } from '@lingui/react/macro'
import { Link } from '@tanstack/react-router'
import { api } from '@/api/client'
import { ownAddressOrNull } from '@/api/own-address'
import { useSession } from '@/features/accounts/session'
import { ButtonLook } from '@/ui/button'
import { Ago } from '@/ui/clock'
import type { Channel } from './queries'

/** In place of the player while nothing is live. The page watches for the stream and swaps by itself. */
export function OfflineStage({ channel }: { channel: Channel }) {
  const state = useSession()
  const { handle } = channel
  const last = api.useQuery('get', '/api/v1/streams', {
    params: { query: { channel: handle, live: false, limit: 1 } },
  })
  const stream = last.data?.items[0]
  const poster = ownAddressOrNull(stream?.thumbnail_url ?? null)
  const isOwn = state.status === 'signed-in' && state.account.id === channel.owner.id
  return (
    <div className="absolute inset-0 still-water" data-testid="offline-stage">
      {poster !== null && (
        <img
          src={poster}
          alt=""
          fetchPriority="high"
          className="absolute inset-0 size-full scale-105 object-cover opacity-45 blur-sm"
        />
      )}
      <div className="absolute inset-0 bg-linear-to-t from-picture/95 via-picture/45 to-picture/25" />
      <div className="absolute inset-x-0 bottom-0 flex flex-wrap items-end gap-x-6 gap-y-3 p-4 text-on-picture sm:p-8">
        <div role="status" className="min-w-0 grow basis-56">
          <p className="text-lg font-semibold sm:text-xl">
            <Trans>Offline</Trans>
          </p>
          <p className="mt-1 text-sm text-on-picture-soft">
            {stream?.ended_at != null ? (
              <Trans>
                The last stream ended <Ago at={stream.ended_at} />.
              </Trans>
            ) : (
              last.isSuccess && <Trans>Nothing has been streamed here yet.</Trans>
            )}{' '}
            <Trans>Leave this page open: it starts playing by itself.</Trans>
          </p>
        </div>
        {isOwn && (
          <ButtonLook kind="primary">
            <Link to="/dashboard/$handle" params={{ handle }}>
              <Trans>Go live</Trans>
            </Link>
          </ButtonLook>
        )}
      </div>
    </div>
  )
}
