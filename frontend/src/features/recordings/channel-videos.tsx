import { Trans } from '@lingui/react/macro'
import { useInfiniteQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { recordingsQuery } from './queries'
import { RecordingCard } from './recording-card'

/** So many are shown below a channel; the rest has a page of its own. */
const shownCount = 8

/** The latest recordings of a channel, below it. Nothing at all while there are none. */
export function ChannelVideos({ handle }: { handle: string }) {
  const recordings = useInfiniteQuery({ ...recordingsQuery(handle), refetchInterval: 60_000 })
  const ready = (recordings.data?.pages.flatMap((page) => page.items) ?? []).filter(
    ({ status, visibility }) => status === 'ready' && visibility === 'published',
  )
  if (ready.length === 0) return null
  return (
    <section aria-labelledby="videos-heading" className="watch-width watch-padding pb-16 lg:px-0">
      <div className="mb-4 flex items-baseline justify-between gap-4">
        <h2 id="videos-heading" className="text-lg font-semibold text-text">
          <Trans>Videos</Trans>
        </h2>
        <Link
          to="/$handle/videos"
          params={{ handle }}
          className="text-sm font-medium text-accent-text hover:underline"
        >
          <Trans>All videos</Trans>
        </Link>
      </div>
      <ul className="card-grid">
        {ready.slice(0, shownCount).map((recording) => (
          <li key={recording.id}>
            <RecordingCard recording={recording} />
          </li>
        ))}
      </ul>
    </section>
  )
}
