/** Water going over a weir, drawn in the colour of the theme. Decoration only. */
export function River({ className }: { className?: string }) {
  return (
    <svg viewBox="0 0 800 900" preserveAspectRatio="xMidYMid slice" aria-hidden className={className}>
      <g fill="none" stroke="var(--accent)" strokeLinecap="round">
        {Array.from({ length: 15 }, (_, line) => (
          <path
            key={line}
            d={streamline(line)}
            strokeWidth={line % 4 === 0 ? 3 : 1.4}
            opacity={0.75 - line * 0.042}
          />
        ))}
      </g>
    </svg>
  )
}

function streamline(line: number): string {
  const top = 212 + line * 15
  const shift = line * 11
  const crest = `C 80 ${top - 9}, 150 ${top + 9}, ${240 - shift / 3} ${top}`
  const fall = `C ${400 - shift} ${top - 4}, ${352 - shift} ${top + 330}, ${520 - shift} ${top + 334}`
  const below = `C 600 ${top + 336}, 660 ${top + 322}, 820 ${top + 332}`
  return `M-20 ${top} ${crest} ${fall} ${below}`
}
