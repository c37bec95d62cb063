import { useId, type ReactNode } from 'react'

/** One of a few, all of them in sight. */
export function Choices<Value extends string>({
  legend,
  value,
  onChange,
  choices,
  error,
}: {
  legend: ReactNode
  value: Value | null
  onChange: (value: Value) => void
  choices: readonly { value: Value; text: ReactNode; about?: ReactNode }[]
  error?: string | undefined
}) {
  const name = useId()
  return (
    <fieldset className="flex flex-col gap-2" aria-invalid={error === undefined ? undefined : true}>
      <legend className="mb-2 text-sm font-medium text-text">{legend}</legend>
      {choices.map((choice) => (
        <label key={choice.value} className="flex items-start gap-3 text-sm text-text">
          <input
            type="radio"
            name={name}
            value={choice.value}
            checked={choice.value === value}
            onChange={() => onChange(choice.value)}
            className="mt-0.5 size-4 shrink-0 accent-accent-text"
          />
          <span>
            {choice.text}
            {choice.about !== undefined && <span className="block text-xs text-faint">{choice.about}</span>}
          </span>
        </label>
      ))}
      <div aria-live="polite">
        {error !== undefined && <p className="text-xs font-medium text-danger">{error}</p>}
      </div>
    </fieldset>
  )
}
