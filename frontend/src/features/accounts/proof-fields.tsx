import { useLingui } from '@lingui/react/macro'
import { useEffect, useRef } from 'react'
import { TextField } from '@/ui/field'
import type { Account } from './session'

export interface Proof {
  password: string
  code: string
}

export const noProof: Proof = { password: '', code: '' }

/** What a request takes of a proof: the code only where there is one. */
export function sent({ password, code }: Proof): { password: string; code?: string } {
  return code.trim() === '' ? { password } : { password, code: code.trim() }
}

/** Who is signed in shows again who they are, before something that a borrowed device must not do. */
export function ProofFields({
  account,
  proof,
  onChange,
  passwordLabel,
  error,
  takesFocus = false,
}: {
  account: Pick<Account, 'has_second_factor'>
  proof: Proof
  onChange: (proof: Proof) => void
  passwordLabel?: string
  error?: string | undefined
  /** Whether they appear because of what one has just done. */
  takesFocus?: boolean
}) {
  const { t } = useLingui()
  const password = useRef<HTMLInputElement>(null)
  useEffect(() => {
    if (takesFocus) password.current?.focus()
  }, [takesFocus])
  return (
    <>
      <TextField
        label={passwordLabel ?? t`Your password`}
        type="password"
        autoComplete="current-password"
        value={proof.password}
        error={error}
        ref={password}
        onChange={(event) => onChange({ ...proof, password: event.currentTarget.value })}
      />
      {account.has_second_factor && (
        <CodeField value={proof.code} onChange={(code) => onChange({ ...proof, code })} />
      )}
    </>
  )
}

/** Six digits of the authenticator, or a recovery code. */
export function CodeField({
  value,
  onChange,
  error,
  isAuthenticatorOnly = false,
  takesFocus = false,
}: {
  value: string
  onChange: (code: string) => void
  error?: string | undefined
  /** Whether a recovery code does not do. */
  isAuthenticatorOnly?: boolean
  /** Whether it appears because of what one has just done. */
  takesFocus?: boolean
}) {
  const { t } = useLingui()
  const input = useRef<HTMLInputElement>(null)
  useEffect(() => {
    if (takesFocus) input.current?.focus()
  }, [takesFocus])
  return (
    <TextField
      label={t`Code of your authenticator`}
      hint={isAuthenticatorOnly ? undefined : t`Six digits, or one of your recovery codes.`}
      inputMode="text"
      autoComplete="one-time-code"
      autoCapitalize="none"
      spellCheck={false}
      className="font-mono tracking-wider"
      value={value}
      error={error}
      ref={input}
      onChange={(event) => onChange(event.currentTarget.value)}
    />
  )
}
