import { useState } from 'react'
import { ownAddress } from '@/api/own-address'
import { classes } from './classes'

/** A person's picture, or the first letter where there is none, or it cannot be had. */
export function Avatar({
  name,
  src = null,
  className,
}: {
  name: string
  /** Its address; a file that was just chosen has one that begins with `blob:`. */
  src?: string | null | undefined
  className?: string
}) {
  const [failed, setFailed] = useState<string | null>(null)
  const letter = (Array.from(name.trim())[0] ?? '·').toUpperCase()
  return (
    <span
      aria-hidden
      className={classes(
        'relative inline-flex size-10 shrink-0 items-center justify-center overflow-hidden rounded-full bg-accent-wash text-base font-semibold text-accent-text select-none',
        className,
      )}
    >
      {letter}
      {src !== null && src !== failed && (
        <img
          src={src.startsWith('blob:') ? src : ownAddress(src)}
          alt=""
          decoding="async"
          onError={() => setFailed(src)}
          className="absolute inset-0 size-full bg-raised object-cover"
        />
      )}
    </span>
  )
}
