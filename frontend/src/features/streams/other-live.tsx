import { Trans } from '@lingui/react/macro'
import { useInfiniteQuery } from '@tanstack/react-query'
import { LiveCard } from './live-card'
import { liveStreamsQuery } from './queries'

/** What else is live, below a channel. Nothing while there is nothing. */
export function OtherLive({ handle }: { handle: string }) {
  const live = useInfiniteQuery({ ...liveStreamsQuery(), refetchInterval: 30_000 })
  const others = (live.data?.pages[0]?.items ?? [])
    .filter((stream) => stream.channel.handle !== handle)
    .slice(0, 8)
  if (others.length === 0) return null
  return (
    <section aria-labelledby="others-heading" className="watch-width watch-padding pb-20 lg:px-0">
      <h2 id="others-heading" className="mb-4 text-lg font-semibold text-text">
        <Trans>Also live</Trans>
      </h2>
      <ul className="card-grid">
        {others.map((stream) => (
          <li key={stream.id}>
            <LiveCard stream={stream} heading="h3" />
          </li>
        ))}
      </ul>
    </section>
  )
}
