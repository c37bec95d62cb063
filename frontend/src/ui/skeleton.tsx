import { classes } from './classes'

/** A place held for content that is on its way. The region around it says so to screen readers. */
export function Skeleton({ className }: { className?: string }) {
  return <div aria-hidden className={classes('skeleton', className)} />
}
