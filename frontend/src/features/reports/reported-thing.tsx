import { Trans } from '@lingui/react/macro'
import { Link } from '@tanstack/react-router'
import type { Schemas } from '@/api/client'

/** What was reported, by name; a link to where it is seen, as long as it is. */
export function ReportedThing({ target }: { target: Schemas['ReportedThing'] }) {
  const { handle, owner } = target
  const name = target.title ?? handle ?? owner.username
  const look = 'font-medium break-words text-text underline-offset-4 hover:underline'
  if (target.kind === 'account') {
    return (
      <Link to="/accounts/$username" params={{ username: owner.username }} className={look}>
        {owner.username}
      </Link>
    )
  }
  // It went with its channel, or is not for whoever reported it any more.
  if (handle === null) {
    return (
      <span className="flex flex-wrap items-baseline gap-x-2">
        <span className="font-medium break-words text-text">{owner.username}</span>
        <span className="text-xs text-faint">
          <Trans>It is gone, or not open to you any more.</Trans>
        </span>
      </span>
    )
  }
  if (target.kind === 'recording') {
    return (
      <Link to="/$handle/videos/$id" params={{ handle, id: target.id }} className={look}>
        {name}
      </Link>
    )
  }
  return (
    <Link to="/$handle" params={{ handle }} className={look}>
      {name}
    </Link>
  )
}
