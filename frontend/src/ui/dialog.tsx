import { Dialog } from 'radix-ui'
import type { ReactNode } from 'react'

/** A question that has to be answered before going on. The footer holds the answers. */
export function Question({
  open,
  onOpenChange,
  title,
  children,
  form,
  footer,
}: {
  open: boolean
  onOpenChange: (open: boolean) => void
  title: ReactNode
  /** What is read out with the title, at once. */
  children?: ReactNode
  /** What there is to fill in, which is read out field by field. */
  form?: ReactNode
  footer: ReactNode
}) {
  // Without words of its own the dialog is described by nothing, and has to say so.
  const described = children === undefined ? { 'aria-describedby': undefined } : {}
  return (
    <Dialog.Root open={open} onOpenChange={onOpenChange}>
      <Dialog.Portal>
        <Dialog.Overlay className="fixed inset-0 z-50 bg-scrim" />
        <Dialog.Content
          {...described}
          className="fixed inset-x-4 top-1/2 z-50 mx-auto max-h-[calc(100dvh-2rem)] max-w-md -translate-y-1/2 overflow-y-auto rounded-lg border border-line bg-raised-high p-5 outline-none sm:p-6"
        >
          <Dialog.Title className="text-lg font-semibold text-text">{title}</Dialog.Title>
          {children !== undefined && (
            <Dialog.Description asChild>
              <div className="mt-3 flex flex-col gap-2 text-sm text-soft">{children}</div>
            </Dialog.Description>
          )}
          {form !== undefined && <div className="mt-4">{form}</div>}
          {/* Where the answers do not fit beside each other, the one that goes on stands first. */}
          <div className="mt-6 flex flex-wrap-reverse justify-end gap-3 max-sm:*:grow">{footer}</div>
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  )
}
