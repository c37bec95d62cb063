import { Trans, useLingui } from '@lingui/react/macro'
import { useState } from 'react'
import { languages, type Language } from '@/app/languages'
import { Button } from '@/ui/button'
import { TextField } from '@/ui/field'
import { useNow } from '@/ui/now'

const kept = 'weir:mailed-code'

/** A code that came by a link is kept while one signs in; the address bar need not show it meanwhile. */
export function keepCode(code: string): void {
  try {
    sessionStorage.setItem(kept, code)
  } catch {
    // It is typed then.
  }
}

export function takeKeptCode(): string {
  try {
    const code = sessionStorage.getItem(kept) ?? ''
    sessionStorage.removeItem(kept)
    return code
  } catch {
    return ''
  }
}

/** The language that mails are to have: that of the page. */
export function mailLanguage(locale: string): Language {
  return locale in languages ? (locale as Language) : 'en'
}

/** A code from a mail. */
export function MailedCodeField({
  label,
  hint,
  value,
  onChange,
  error,
}: {
  label?: string
  hint?: string | undefined
  value: string
  onChange: (code: string) => void
  error?: string | undefined
}) {
  const { t } = useLingui()
  return (
    <TextField
      label={label ?? t`Code from the mail`}
      hint={hint}
      autoComplete="one-time-code"
      autoCapitalize="none"
      spellCheck={false}
      maxLength={32}
      className="font-mono tracking-wider"
      value={value}
      error={error}
      onChange={(event) => onChange(event.currentTarget.value)}
    />
  )
}

/** Asks for another mail, which can be had once a minute. */
export function AnotherMailButton({
  againAt,
  isBusy,
  onAsk,
}: {
  /** When another can be asked for, if that is known. */
  againAt: string | null
  isBusy: boolean
  onAsk: () => void
}) {
  const now = useNow()
  const seconds = againAt === null ? 0 : Math.ceil((Date.parse(againAt) - now) / 1000)
  const isEarly = seconds > 0
  return (
    <Button onClick={onAsk} isBusy={isBusy} disabled={isBusy || isEarly}>
      {isEarly ? <Trans>Another code in {seconds} s</Trans> : <Trans>Send another code</Trans>}
    </Button>
  )
}

/** What is typed, and the remark that something is missing once one has tried without. */
export function useCode(first = '') {
  const { t } = useLingui()
  const [code, setCode] = useState(first)
  const [isTouched, setTouched] = useState(false)
  const isMissing = code.trim() === ''
  return {
    code: code.trim(),
    field: { value: code, onChange: setCode, error: isTouched && isMissing ? t`Fill this in.` : undefined },
    /** Whether it can be sent. */
    check: () => {
      setTouched(true)
      return !isMissing
    },
    clear: () => {
      setCode('')
      setTouched(false)
    },
  }
}
