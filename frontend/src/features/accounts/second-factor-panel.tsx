import { Trans, useLingui } from '@lingui/react/macro'
import { ShieldCheck } from 'lucide-react'
import { useState, type SubmitEvent } from 'react'
import { toast } from 'sonner'
import { api, type Schemas } from '@/api/client'
import { Button } from '@/ui/button'
import { CopyField } from '@/ui/copy-field'
import { Notice } from '@/ui/notice'
import { ProblemNotice } from '@/ui/problem-notice'
import { CodeField, noProof, ProofFields, sent } from './proof-fields'
import { session, type Account } from './session'

type Prepared = Schemas['PreparedSecondFactor']
type Step =
  { at: 'rest' } | { at: 'proof'; for: 'set-up' | 'take-off' | 'codes' } | { at: 'code'; prepared: Prepared }

/** Setting up an authenticator, and taking it off. */
export function SecondFactorPanel({ account }: { account: Account }) {
  const { t } = useLingui()
  const [step, setStep] = useState<Step>({ at: 'rest' })
  const [codes, setCodes] = useState<string[] | null>(null)
  const { has_second_factor: isOn } = account

  if (step.at === 'code') {
    return (
      <EnableForm
        prepared={step.prepared}
        onCancel={() => setStep({ at: 'rest' })}
        onDone={(made) => {
          setCodes(made)
          setStep({ at: 'rest' })
          session.change({ has_second_factor: true })
          toast.success(t`From now on signing in takes a code.`)
        }}
      />
    )
  }
  return (
    <div className="flex flex-col gap-4">
      {codes !== null && <RecoveryCodes codes={codes} onSeen={() => setCodes(null)} />}
      <p className="flex items-center gap-2 text-sm text-text">
        {isOn && <ShieldCheck aria-hidden className="size-5 text-accent-text" />}
        {isOn ? <Trans>On: signing in takes a code of your authenticator.</Trans> : <Trans>Off.</Trans>}
      </p>
      {step.at === 'proof' ? (
        <ProofForm
          account={account}
          purpose={step.for}
          onCancel={() => setStep({ at: 'rest' })}
          onPrepared={(prepared) => setStep({ at: 'code', prepared })}
          onCodes={(made) => {
            setCodes(made)
            setStep({ at: 'rest' })
          }}
          onOff={() => {
            setCodes(null)
            setStep({ at: 'rest' })
            session.change({ has_second_factor: false })
            toast.success(t`Signing in takes your password alone.`)
          }}
        />
      ) : isOn ? (
        <div className="flex flex-wrap gap-3">
          <Button onClick={() => setStep({ at: 'proof', for: 'codes' })}>
            <Trans>New recovery codes</Trans>
          </Button>
          <Button kind="danger" onClick={() => setStep({ at: 'proof', for: 'take-off' })}>
            <Trans>Turn off</Trans>
          </Button>
        </div>
      ) : (
        <Button kind="primary" className="self-start" onClick={() => setStep({ at: 'proof', for: 'set-up' })}>
          <Trans>Set up</Trans>
        </Button>
      )}
    </div>
  )
}

function ProofForm({
  account,
  purpose,
  onCancel,
  onPrepared,
  onCodes,
  onOff,
}: {
  account: Account
  purpose: 'set-up' | 'take-off' | 'codes'
  onCancel: () => void
  onPrepared: (prepared: Prepared) => void
  onCodes: (codes: string[]) => void
  onOff: () => void
}) {
  const { t } = useLingui()
  const [proof, setProof] = useState(noProof)
  const [isTouched, setTouched] = useState(false)
  const prepare = api.useMutation('post', '/api/v1/auth/second-factor')
  const disable = api.useMutation('delete', '/api/v1/auth/second-factor')
  const replace = api.useMutation('put', '/api/v1/auth/second-factor/recovery-codes')

  async function submit(event: SubmitEvent) {
    event.preventDefault()
    setTouched(true)
    if (proof.password === '') return
    const body = sent(proof)
    try {
      if (purpose === 'set-up') onPrepared(await prepare.mutateAsync({ body }))
      else if (purpose === 'codes') onCodes((await replace.mutateAsync({ body })).codes)
      else {
        await disable.mutateAsync({ body })
        onOff()
      }
    } catch {
      // Shown above the form.
    }
  }

  return (
    <form noValidate onSubmit={(event) => void submit(event)} className="flex max-w-md flex-col gap-4">
      <ProblemNotice error={prepare.error ?? disable.error ?? replace.error} />
      <ProofFields
        account={account}
        proof={proof}
        onChange={setProof}
        error={isTouched && proof.password === '' ? t`Fill this in.` : undefined}
      />
      <div className="flex flex-wrap gap-3">
        <Button
          type="submit"
          kind={purpose === 'take-off' ? 'danger' : 'primary'}
          isBusy={prepare.isPending || disable.isPending || replace.isPending}
        >
          {purpose === 'take-off' ? (
            <Trans>Turn off</Trans>
          ) : purpose === 'codes' ? (
            <Trans>Make new codes</Trans>
          ) : (
            <Trans>Go on</Trans>
          )}
        </Button>
        <Button kind="bare" onClick={onCancel}>
          <Trans>Cancel</Trans>
        </Button>
      </div>
    </form>
  )
}

function EnableForm({
  prepared,
  onCancel,
  onDone,
}: {
  prepared: Prepared
  onCancel: () => void
  onDone: (codes: string[]) => void
}) {
  const { t } = useLingui()
  const [code, setCode] = useState('')
  const enable = api.useMutation('put', '/api/v1/auth/second-factor')

  async function submit(event: SubmitEvent) {
    event.preventDefault()
    if (code.trim() === '') return
    try {
      onDone((await enable.mutateAsync({ body: { id: prepared.id, code: code.trim() } })).codes)
    } catch {
      // Shown above the form.
    }
  }

  return (
    <form noValidate onSubmit={(event) => void submit(event)} className="flex max-w-md flex-col gap-4">
      <p className="text-sm text-soft">
        <Trans>Scan this with an authenticator app, then enter the code that it shows.</Trans>
      </p>
      <img
        alt={t`QR code for your authenticator`}
        src={`data:image/svg+xml;utf8,${encodeURIComponent(prepared.qr_svg)}`}
        className="bg-white size-60 rounded-sm"
      />
      <CopyField label={t`Or type this into the app`} value={prepared.secret} testId="totp-secret" />
      <ProblemNotice error={enable.error} />
      <CodeField isAuthenticatorOnly value={code} onChange={setCode} />
      <div className="flex flex-wrap gap-3">
        <Button type="submit" kind="primary" isBusy={enable.isPending}>
          <Trans>Turn on</Trans>
        </Button>
        <Button kind="bare" onClick={onCancel}>
          <Trans>Cancel</Trans>
        </Button>
      </div>
    </form>
  )
}

function RecoveryCodes({ codes, onSeen }: { codes: string[]; onSeen: () => void }) {
  const { t } = useLingui()
  return (
    <Notice tone="warning" title={<Trans>Keep these recovery codes: they are not shown again.</Trans>}>
      <p className="mt-1">
        <Trans>
          Each lets you in once when your authenticator is lost. Without them nobody can help you.
        </Trans>
      </p>
      <ol
        aria-label={t`Recovery codes`}
        className="mt-3 grid grid-cols-2 gap-x-6 gap-y-1 font-mono text-sm text-text sm:max-w-xs"
      >
        {codes.map((code) => (
          <li key={code}>{code}</li>
        ))}
      </ol>
      <div className="mt-4 flex flex-col items-start gap-3">
        <CopyField label={t`All of them`} value={codes.join(' ')} testId="recovery-codes" />
        <Button onClick={onSeen}>
          <Trans>I have kept them</Trans>
        </Button>
      </div>
    </Notice>
  )
}
