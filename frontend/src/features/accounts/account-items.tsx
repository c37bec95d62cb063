import { Trans } from '@lingui/react/macro'
import { Link } from '@tanstack/react-router'
import type { Schemas } from '@/api/client'
import { Avatar } from '@/ui/avatar'
import { Ago, formatDuration, Uptime } from '@/ui/clock'
import { LiveBadge } from '@/ui/live-badge'

/** A channel in the list of an account's. */
export function AccountChannel({ channel }: { channel: Schemas['Channel'] }) {
  const { handle } = channel
  return (
    <Link
      to="/$handle"
      params={{ handle }}
      className="group flex items-center gap-3 rounded-lg border p-3.5 transition-colors hover:border-line-strong hover:bg-raised"
    >
      <Avatar name={handle} className="!bg-raised-high !text-faint" />
      <span className="min-w-0 grow">
        <span className="block truncate text-sm font-semibold text-text">{channel.title}</span>
        <span className="block truncate text-sm text-faint">{handle}</span>
      </span>
      {channel.is_live && <LiveBadge />}
    </Link>
  )
}

/** A stream in the list of an account's: one that is on, or how it was. */
export function AccountStream({ stream }: { stream: Schemas['Stream'] }) {
  const { handle } = stream.channel
  return (
    <Link
      to="/$handle"
      params={{ handle }}
      className="flex flex-wrap items-center gap-x-4 gap-y-1 px-4 py-3 transition-colors hover:bg-raised"
    >
      <span className="min-w-0 grow basis-56">
        <span className="block truncate text-sm font-semibold text-text">{stream.title}</span>
        <span className="block truncate text-sm text-faint">{handle}</span>
      </span>
      <span className="flex shrink-0 items-center gap-3 text-sm text-faint tabular-nums">
        {stream.is_live ? (
          <>
            <LiveBadge />
            <Uptime since={stream.started_at} />
          </>
        ) : (
          <>
            <Ago at={stream.started_at} />
            {stream.duration_ms !== null && (
              <span>
                <span className="sr-only">
                  <Trans>Lasts</Trans>{' '}
                </span>
                {formatDuration(stream.duration_ms)}
              </span>
            )}
          </>
        )}
      </span>
    </Link>
  )
}
