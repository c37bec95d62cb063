import { Trans } from '@lingui/react/macro'
import { Thumbnail } from '@/features/streams/thumbnail'
import { Avatar } from '@/ui/avatar'
import { classes } from '@/ui/classes'

/** How the channel will look to others, while its form is filled in. */
export function ChannelPreview({ handle, title }: { handle: string; title: string }) {
  const name = handle.trim().toLowerCase()
  const { host } = globalThis.location
  return (
    <div className="lg:sticky lg:top-24">
      <p
        aria-live="polite"
        className="rounded-lg border bg-raised px-4 py-3 font-mono text-sm break-all text-faint"
      >
        {host}/<span className={classes(name !== '' && 'text-accent-text')}>{name === '' ? '…' : name}</span>
      </p>
      <div aria-hidden className="mt-5 hidden rounded-lg border p-4 lg:block">
        <Thumbnail url={null} isLive={false} className="rounded-lg" />
        <div className="mt-4 flex gap-3">
          <Avatar name={name === '' ? '·' : name} />
          <div className="min-w-0">
            <p className="truncate text-base font-semibold text-text">
              {title.trim() === '' ? (
                <span className="text-faint">
                  <Trans>Your title</Trans>
                </span>
              ) : (
                title
              )}
            </p>
            <p className="truncate text-sm text-faint">{name === '' ? '…' : name}</p>
          </div>
        </div>
      </div>
    </div>
  )
}
