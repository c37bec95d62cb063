import type { ReactNode } from 'react'
import { Mark } from '@/ui/logo'
import { River } from '@/ui/river'

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
        <div className="absolute inset-0 bg-raised">
          <River className="size-full" />
        </div>
        <Mark className="absolute bottom-10 left-10 size-10 text-text" />
      </div>
    </div>
  )
}
