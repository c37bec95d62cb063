import type { ReactNode } from 'react'

/** Where nothing is yet, or nothing could be had: what that means, and the one next step. */
export function Empty({
  icon,
  title,
  children,
  action,
  role,
}: {
  icon?: ReactNode
  title: ReactNode
  children?: ReactNode
  action?: ReactNode
  role?: 'alert' | 'status'
}) {
  return (
    <div
      role={role}
      className="flex flex-col items-center rounded-lg border border-line px-6 py-14 text-center sm:py-20"
    >
      {icon !== undefined && (
        <span aria-hidden className="mb-5 text-accent-text [&>svg]:size-9 [&>svg]:stroke-[1.5]">
          {icon}
        </span>
      )}
      <p className="text-lg font-semibold text-text">{title}</p>
      {children !== undefined && <div className="mt-2 max-w-md text-sm text-soft">{children}</div>}
      {action !== undefined && <div className="mt-6">{action}</div>}
    </div>
  )
}
