import type { ReactNode } from 'react'
import { Mark } from '@/ui/logo'

/** The frame of the pages through which one comes in. */
export function Gate({
  title,
  intro,
  children,
  footer,
}: {
  title: ReactNode
  intro?: ReactNode
  children: ReactNode
  footer: ReactNode
}) {
  return (
    <div className="grid grow lg:grid-cols-[minmax(0,1fr)_minmax(0,1.1fr)]">
      <div className="flex flex-col justify-center px-4 py-10 sm:px-10 sm:py-14">
        <div className="mx-auto w-full max-w-[26rem]">
          <h1 className="text-xl font-semibold text-text">{title}</h1>
          {intro !== undefined && <div className="mt-2 text-base text-soft">{intro}</div>}
          <div className="mt-8">{children}</div>
          <div className="mt-8 border-t pt-5 text-sm text-soft">{footer}</div>
        </div>
      </div>
      <div aria-hidden className="relative hidden overflow-hidden border-l lg:block">
        <River />
      </div>
    </div>
  )
}

/** Water going over a weir, drawn in the colours of the theme. */
function River() {
  const lines = Array.from({ length: 15 }, (_, index) => index)
  return (
    <div className="absolute inset-0 bg-raised">
      <svg viewBox="0 0 800 900" preserveAspectRatio="xMidYMid slice" className="size-full">
        <g fill="none" stroke="var(--accent)" strokeLinecap="round">
          {lines.map((line) => {
            const top = 212 + line * 15
            const shift = line * 11
            return (
              <path
                key={line}
                d={`M-20 ${top} C 80 ${top - 9}, 150 ${top + 9}, ${240 - shift / 3} ${top} C ${400 - shift} ${top - 4}, ${352 - shift} ${top + 330}, ${520 - shift} ${top + 334} C 600 ${top + 336}, 660 ${top + 322}, 820 ${top + 332}`}
                strokeWidth={line % 4 === 0 ? 3 : 1.4}
                opacity={0.75 - line * 0.042}
              />
            )
          })}
        </g>
      </svg>
      <Mark className="absolute bottom-10 left-10 size-10 text-text" />
    </div>
  )
}
