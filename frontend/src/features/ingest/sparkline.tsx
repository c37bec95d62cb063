import { classes } from '@/ui/classes'

const width = 120
const height = 28

/** The course of a figure over the last minute, as a line. What it shows is in the table beneath, too. */
export function Sparkline({ values, isAttention }: { values: number[]; isAttention: boolean }) {
  if (values.length < 2) return <div aria-hidden className="h-7" />
  // Measured from nothing, so that small changes look small.
  const most = Math.max(...values, 1)
  const points = values.map((value, index) => {
    const x = (index / (values.length - 1)) * width
    const y = height - 2 - (value / most) * (height - 4)
    return `${x.toFixed(1)},${y.toFixed(1)}`
  })
  return (
    <svg
      aria-hidden
      viewBox={`0 0 ${width} ${height}`}
      preserveAspectRatio="none"
      className={classes('h-7 w-full', isAttention ? 'text-warning' : 'text-accent-text')}
    >
      <polyline
        points={points.join(' ')}
        fill="none"
        stroke="currentColor"
        strokeWidth="1.5"
        strokeLinejoin="round"
        vectorEffect="non-scaling-stroke"
      />
    </svg>
  )
}
