import { Trans, useLingui } from '@lingui/react/macro'
import { Share2 } from 'lucide-react'
import { toast } from 'sonner'
import { Button } from '@/ui/button'
import { copyText } from '@/ui/copy-text'

/** Shares the channel's page: by the system's sheet on phones, by the clipboard elsewhere. */
export function ShareButton({
  handle,
  title,
  className,
}: {
  handle: string
  title: string
  className?: string
}) {
  const { t } = useLingui()
  async function share() {
    const url = `${globalThis.location.origin}/${handle}`
    const isTouch = globalThis.matchMedia('(pointer: coarse)').matches
    if (isTouch && 'share' in navigator) {
      try {
        await navigator.share({ title, url })
        return
      } catch (error) {
        if (error instanceof DOMException && error.name === 'AbortError') return
      }
    }
    if (await copyText(url)) toast.success(t`The link is on the clipboard`, { description: url })
    else toast.info(t`Copy this link`, { description: url, duration: 10_000 })
  }
  return (
    <Button
      onClick={() => void share()}
      icon={<Share2 aria-hidden className="size-4" />}
      className={className}
    >
      <Trans>Share</Trans>
    </Button>
  )
}
