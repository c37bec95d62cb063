import { useEffect, useState } from 'react'
import { classes } from '@/ui/classes'
import { ownAddress } from '@/api/own-address'
import { Mark } from '@/ui/logo'
import { useNow } from '@/ui/now'

const refreshMs = 20_000

/** How wide a card of a list is shown. */
const ofACard = '(min-width: 40rem) 20rem, 100vw'

/**
 * A picture of a stream, 16:9. A live one is fetched anew as the server makes it, and replaced
 * only when the new one is there, so that it never blinks.
 */
export function Thumbnail({
  url,
  isLive,
  isFirst = false,
  sizes = ofACard,
  className,
}: {
  url: string | null
  isLive: boolean
  /** Whether it is likely the largest picture of the page. */
  isFirst?: boolean
  /** How wide it is shown, as the attribute of an image has it. */
  sizes?: string
  className?: string
}) {
  return (
    <div className={classes('relative aspect-video overflow-hidden bg-picture', className)}>
      <div aria-hidden className="absolute inset-0 flex items-center justify-center still-water">
        <Mark className="size-[14%] min-w-8 text-on-picture opacity-35" />
      </div>
      {url !== null &&
        (isLive ? (
          <LivePicture key={url} url={ownAddress(url)} sizes={sizes} isFirst={isFirst} />
        ) : (
          <Picture src={ownAddress(url)} sizes={sizes} isFirst={isFirst} />
        ))}
    </div>
  )
}

function LivePicture({ url, sizes, isFirst }: { url: string; sizes: string; isFirst: boolean }) {
  const beat = Math.floor(useNow() / refreshMs)
  const [shown, setShown] = useState(() => `${url}?at=${beat}`)
  const next = `${url}?at=${beat}`
  useEffect(() => {
    if (next === shown || document.hidden) return
    const image = new Image()
    image.onload = () => setShown(next)
    image.sizes = sizes
    image.srcset = lighter(next) ?? ''
    image.src = next
    return () => {
      image.onload = null
    }
  }, [next, shown, sizes])
  return <Picture src={shown} sizes={sizes} isFirst={isFirst} />
}

/** Of streams there are lighter pictures beside the JPEG; of recordings there is that alone. */
function lighter(src: string): string | undefined {
  if (!/^[^?]*\/live\/[^?]*\/thumbnail\.jpg(\?|$)/.test(src)) return undefined
  return [
    `${src.replace('/thumbnail.jpg', '/thumbnail-small.webp')} 320w`,
    `${src.replace('/thumbnail.jpg', '/thumbnail.webp')} 640w`,
  ].join(', ')
}

function Picture({ src, sizes, isFirst }: { src: string; sizes: string; isFirst: boolean }) {
  const [failed, setFailed] = useState<string | null>(null)
  if (failed === src) return null
  return (
    <img
      srcSet={lighter(src)}
      sizes={sizes}
      src={src}
      alt=""
      width={640}
      height={360}
      decoding="async"
      loading={isFirst ? 'eager' : 'lazy'}
      fetchPriority={isFirst ? 'high' : 'auto'}
      onError={() => setFailed(src)}
      className="absolute inset-0 size-full object-cover"
    />
  )
}
