import { useLingui } from '@lingui/react/macro'
import { Check, Copy, Eye, EyeOff } from 'lucide-react'
import { useEffect, useId, useRef, useState } from 'react'
import { classes } from './classes'
import { copyText } from './copy-text'
import { IconButton } from './button'

/** A value to carry elsewhere. A secret one stays hidden until it is asked for; copying needs no showing. */
export function CopyField({
  label,
  value,
  isSecret = false,
  takesFocus = false,
  testId,
}: {
  label: string
  value: string
  isSecret?: boolean
  /** Whether it appears because of what one has just done. */
  takesFocus?: boolean
  testId?: string
}) {
  const { t } = useLingui()
  const id = useId()
  const input = useRef<HTMLInputElement>(null)
  const [isShown, setShown] = useState(!isSecret)
  const [copied, setCopied] = useState<'no' | 'yes' | 'failed'>('no')

  useEffect(() => {
    if (takesFocus) input.current?.focus()
  }, [takesFocus])

  useEffect(() => {
    if (copied === 'no') return
    const timer = setTimeout(() => setCopied('no'), 2500)
    return () => clearTimeout(timer)
  }, [copied])

  return (
    <div className="flex flex-col gap-1.5">
      <label htmlFor={id} className="text-sm font-medium text-text">
        {label}
      </label>
      <div className="flex items-center rounded-sm border border-line-strong/70 bg-raised pr-0.5 focus-within:border-accent-text">
        <input
          id={id}
          ref={input}
          readOnly
          type={isShown ? 'text' : 'password'}
          value={value}
          data-testid={testId}
          autoComplete="off"
          spellCheck={false}
          onFocus={(event) => event.currentTarget.select()}
          className="h-11 min-w-0 grow bg-transparent px-3 font-mono text-sm text-text outline-none"
        />
        {isSecret && (
          <IconButton
            label={isShown ? t`Hide` : t`Show`}
            aria-pressed={isShown}
            onClick={() => setShown(!isShown)}
          >
            {isShown ? <EyeOff className="size-[1.125rem]" /> : <Eye className="size-[1.125rem]" />}
          </IconButton>
        )}
        <IconButton
          label={t`Copy`}
          onClick={() => {
            void copyText(value).then((done) => setCopied(done ? 'yes' : 'failed'))
          }}
          className={classes(copied === 'yes' && 'text-accent-text')}
        >
          {copied === 'yes' ? <Check className="size-[1.125rem]" /> : <Copy className="size-[1.125rem]" />}
        </IconButton>
      </div>
      <span role="status" className={copied === 'failed' ? 'text-xs text-danger' : 'sr-only'}>
        {copied === 'yes' && t`Copied`}
        {copied === 'failed' && t`The browser did not allow copying. Select the text and copy it by hand.`}
      </span>
    </div>
  )
}
