import { Trans } from '@lingui/react/macro'
import { useEffect, useRef } from 'react'
import { Button } from './button'

/** Fetches the next page when it comes into sight; the button serves keyboards and a page that failed. */
export function LoadMore({
  isBusy,
  hasFailed,
  onMore,
}: {
  isBusy: boolean
  hasFailed: boolean
  onMore: () => void
}) {
  const place = useRef<HTMLDivElement>(null)
  const latest = useRef(onMore)
  useEffect(() => {
    latest.current = onMore
  })
  useEffect(() => {
    if (place.current === null || isBusy || hasFailed) return
    const observer = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting)) latest.current()
      },
      { rootMargin: '400px' },
    )
    observer.observe(place.current)
    return () => observer.disconnect()
  }, [isBusy, hasFailed])
  return (
    <div ref={place} className="mt-8 flex justify-center">
      <Button isBusy={isBusy} onClick={onMore}>
        {hasFailed ? <Trans>Try again</Trans> : <Trans>Show more</Trans>}
      </Button>
    </div>
  )
}
