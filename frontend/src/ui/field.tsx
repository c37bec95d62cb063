import { useId, type ComponentProps, type ReactNode } from 'react'
import { classes } from './classes'

interface FieldProps {
  label: string
  hint?: ReactNode
  error?: string | undefined
  /** A remark beside the label, such as "optional". */
  aside?: ReactNode
}

interface Described {
  id: string
  'aria-invalid': true | undefined
  'aria-describedby': string | undefined
}

function Field({
  label,
  hint,
  error,
  aside,
  children,
}: FieldProps & { children: (described: Described) => ReactNode }) {
  const id = useId()
  const hintId = `${id}-hint`
  const errorId = `${id}-error`
  const describedBy = [error !== undefined && errorId, hint !== undefined && hintId].filter(Boolean).join(' ')
  return (
    <div className="flex flex-col gap-1.5">
      <div className="flex items-baseline justify-between gap-4">
        <label htmlFor={id} className="text-sm font-medium text-text">
          {label}
        </label>
        {aside !== undefined && <span className="text-xs text-faint">{aside}</span>}
      </div>
      {children({
        id,
        'aria-invalid': error === undefined ? undefined : true,
        'aria-describedby': describedBy || undefined,
      })}
      <div aria-live="polite">
        {error !== undefined && (
          <p id={errorId} className="text-xs font-medium text-danger">
            {error}
          </p>
        )}
      </div>
      {hint !== undefined && (
        <p id={hintId} className="text-xs text-faint">
          {hint}
        </p>
      )}
    </div>
  )
}

const box =
  'w-full rounded-sm border border-line-strong/70 bg-raised px-3 text-base text-text placeholder:text-faint/80 transition-colors hover:border-line-strong focus:border-accent-text focus:outline-2 focus:-outline-offset-1 focus:outline-accent-text aria-invalid:border-danger'

export function TextField({
  label,
  hint,
  error,
  aside,
  before,
  className,
  ...input
}: FieldProps & ComponentProps<'input'> & { before?: ReactNode }) {
  return (
    <Field label={label} hint={hint} error={error} aside={aside}>
      {(described) =>
        before === undefined ? (
          <input {...input} {...described} className={classes(box, 'h-11', className)} />
        ) : (
          <div className="relative flex">
            <span
              aria-hidden
              className="flex items-center rounded-l-sm border border-r-0 border-line-strong/70 bg-raised-high px-3 text-base text-faint"
            >
              {before}
            </span>
            <input
              {...input}
              {...described}
              className={classes(box, 'h-11 min-w-0 rounded-l-none', className)}
            />
          </div>
        )
      }
    </Field>
  )
}

export function TextArea({
  label,
  hint,
  error,
  aside,
  className,
  ...area
}: FieldProps & ComponentProps<'textarea'>) {
  return (
    <Field label={label} hint={hint} error={error} aside={aside}>
      {(described) => (
        <textarea rows={4} {...area} {...described} className={classes(box, 'resize-y py-2', className)} />
      )}
    </Field>
  )
}
