import { useEffect } from 'react'
import { late } from '@/ui/late'

/** The controls and the elements that they are made of: most of the player's own code. */
export const LateControls = late(() =>
  import('./controls').then(
    ({ Controls }) => Controls,
    () => BrowserControls,
  ),
)

/** What there is where the code of ours cannot be fetched: the picture goes on, and is no reason for a page that says so. */
function BrowserControls({ container }: { container: HTMLElement | null }) {
  useEffect(() => {
    const video = container?.querySelector('video')
    if (video !== null && video !== undefined) video.controls = true
  }, [container])
  return null
}
