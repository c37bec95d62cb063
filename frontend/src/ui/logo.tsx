/** The mark: water that goes over a dam. */
export function Mark({ className }: { className?: string }) {
  return (
    <svg viewBox="0 0 32 32" aria-hidden className={className}>
      <path
        d="M3 14.6h6.3c3.9 0 4.5 5.3 7.2 9.2.6.8 1.2 1.5 2 2.2H5.4A2.4 2.4 0 0 1 3 23.6z"
        fill="currentColor"
      />
      <path
        d="M3 8.2h7.6c8 0 6.8 15 14.1 15 1.7 0 2.2-.8 4.3-.8"
        fill="none"
        stroke="var(--accent)"
        strokeWidth="3.8"
        strokeLinecap="round"
      />
    </svg>
  )
}

export function Logo() {
  return (
    <span className="inline-flex items-center gap-2.5 text-text">
      <Mark className="size-7" />
      <span className="text-lg leading-none font-bold tracking-[-0.045em]">weir</span>
    </span>
  )
}
