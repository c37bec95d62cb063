import { Plural, Trans, useLingui } from '@lingui/react/macro'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Plus } from 'lucide-react'
import { useState, type SubmitEvent, type ReactNode } from 'react'
import { toast } from 'sonner'
import { api, client, type Schemas } from '@/api/client'
import { Button } from '@/ui/button'
import { Ago } from '@/ui/clock'
import { CopyField } from '@/ui/copy-field'
import { Failed } from '@/ui/failed'
import { TextField } from '@/ui/field'
import { Notice } from '@/ui/notice'
import { ProblemNotice } from '@/ui/problem-notice'
import { Skeleton } from '@/ui/skeleton'
import { noProof, ProofFields, sent } from './proof-fields'
import { tokensKey, tokensQuery, type PersonalToken } from './queries'
import type { Account } from './session'

type Scope = Schemas['PersonalTokenScope']

const scopes: { scope: Scope; meaning: ReactNode }[] = [
  { scope: 'read', meaning: <Trans>Look at what you may look at, except stream keys</Trans> },
  { scope: 'channels:write', meaning: <Trans>Create and edit channels and videos</Trans> },
  { scope: 'stream_keys', meaning: <Trans>See and replace stream keys</Trans> },
  { scope: 'exports:write', meaning: <Trans>Ask for exports and delete them</Trans> },
]
const lifetimes = [7, 30, 90, 366]

export function PersonalTokensPanel({ account }: { account: Account }) {
  const { t } = useLingui()
  const queryClient = useQueryClient()
  const tokens = useQuery(tokensQuery)
  const [isMaking, setMaking] = useState(false)
  const [made, setMade] = useState<string | null>(null)
  const revoke = useMutation({
    mutationFn: (id: string) => client.DELETE('/api/v1/auth/tokens/{id}', { params: { path: { id } } }),
    onSuccess: async () => {
      await queryClient.invalidateQueries({ queryKey: tokensKey })
      toast.success(t`The token is worth nothing any more.`)
    },
  })

  return (
    <div className="flex flex-col gap-4">
      {made !== null && (
        <Notice tone="info" title={<Trans>Copy the token now: it is not shown again.</Trans>}>
          <div className="mt-3">
            <CopyField label={t`Token`} value={made} testId="personal-token" />
          </div>
        </Notice>
      )}
      <ProblemNotice error={revoke.error} />
      {tokens.isPending ? (
        <div role="status" aria-label={t`Loading your tokens`}>
          <Skeleton className="h-16 !rounded-lg" />
        </div>
      ) : tokens.data === undefined ? (
        <Failed error={tokens.error} onRetry={() => void tokens.refetch()} isRetrying={tokens.isFetching} />
      ) : tokens.data.length === 0 ? (
        <p className="text-sm text-soft">
          <Trans>You have no tokens.</Trans>
        </p>
      ) : (
        <ul className="flex flex-col divide-y divide-line rounded-lg border">
          {tokens.data.map((token) => (
            <TokenRow
              key={token.id}
              token={token}
              isBusy={revoke.isPending}
              onRevoke={() => revoke.mutate(token.id)}
            />
          ))}
        </ul>
      )}
      {isMaking ? (
        <NewToken
          account={account}
          onDone={(token) => {
            setMaking(false)
            if (token === null) return
            setMade(token)
            void queryClient.invalidateQueries({ queryKey: tokensKey })
          }}
        />
      ) : (
        <Button
          className="self-start"
          icon={<Plus aria-hidden className="size-4" />}
          onClick={() => {
            setMade(null)
            setMaking(true)
          }}
        >
          <Trans>Make a token</Trans>
        </Button>
      )}
    </div>
  )
}

function TokenRow({
  token,
  isBusy,
  onRevoke,
}: {
  token: PersonalToken
  isBusy: boolean
  onRevoke: () => void
}) {
  const { t, i18n } = useLingui()
  const { name } = token
  const expires = new Date(token.expires_at).toLocaleDateString(i18n.locale, { dateStyle: 'medium' })
  return (
    <li className="flex flex-wrap items-center gap-x-4 gap-y-2 p-4">
      <div className="min-w-0 grow basis-40">
        <p className="truncate text-sm font-medium text-text">{name}</p>
        <p className="mt-0.5 font-mono text-xs text-soft">{token.scopes.join(', ')}</p>
        <p className="mt-0.5 text-xs text-faint">
          <Trans>Good until {expires}</Trans>
          {' · '}
          {token.last_used_at === null ? (
            <Trans>never used</Trans>
          ) : (
            <Trans>
              last used <Ago at={token.last_used_at} />
            </Trans>
          )}
        </p>
      </div>
      <Button onClick={onRevoke} disabled={isBusy} aria-label={t`Revoke ${name}`}>
        <Trans>Revoke</Trans>
      </Button>
    </li>
  )
}

function NewToken({ account, onDone }: { account: Account; onDone: (token: string | null) => void }) {
  const { t } = useLingui()
  const create = api.useMutation('post', '/api/v1/auth/tokens')
  const [name, setName] = useState('')
  const [chosen, setChosen] = useState<Scope[]>(['read'])
  const [days, setDays] = useState(90)
  const [proof, setProof] = useState(noProof)
  const [isTouched, setTouched] = useState(false)

  async function submit(event: SubmitEvent) {
    event.preventDefault()
    setTouched(true)
    if (name.trim() === '' || chosen.length === 0 || proof.password === '') return
    try {
      const body = { name: name.trim(), scopes: chosen, expires_in_days: days, ...sent(proof) }
      const made = await create.mutateAsync({ body })
      onDone(made.token)
    } catch {
      // Shown above the form.
    }
  }

  return (
    <form
      noValidate
      onSubmit={(event) => void submit(event)}
      className="flex max-w-md flex-col gap-4 rounded-lg border bg-raised p-4"
    >
      <ProblemNotice error={create.error} />
      <TextField
        label={t`What is it for?`}
        hint={t`So that you know it again: “Schedule on our site”.`}
        maxLength={50}
        value={name}
        error={isTouched && name.trim() === '' ? t`Fill this in.` : undefined}
        onChange={(event) => setName(event.currentTarget.value)}
      />
      <fieldset className="flex flex-col gap-2">
        <legend className="mb-2 text-sm font-medium text-text">
          <Trans>What may it do?</Trans>
        </legend>
        {scopes.map(({ scope, meaning }) => (
          <label key={scope} className="flex items-start gap-3 text-sm text-text">
            <input
              type="checkbox"
              checked={chosen.includes(scope)}
              onChange={(event) =>
                setChosen(
                  event.currentTarget.checked
                    ? [...chosen, scope]
                    : chosen.filter((other) => other !== scope),
                )
              }
              className="mt-0.5 size-4 shrink-0 accent-accent-text"
            />
            <span>{meaning}</span>
          </label>
        ))}
        {isTouched && chosen.length === 0 && (
          <p className="text-xs font-medium text-danger">
            <Trans>Choose at least one.</Trans>
          </p>
        )}
      </fieldset>
      <label className="flex flex-col gap-1.5 text-sm font-medium text-text">
        <Trans>Good for</Trans>
        <select
          value={days}
          onChange={(event) => setDays(Number(event.currentTarget.value))}
          className="h-11 rounded-sm border border-line-strong/70 bg-raised px-3 text-base font-normal text-text"
        >
          {lifetimes.map((count) => (
            <option key={count} value={count}>
              <Plural value={count} one="# day" other="# days" />
            </option>
          ))}
        </select>
      </label>
      <ProofFields
        account={account}
        proof={proof}
        onChange={setProof}
        error={isTouched && proof.password === '' ? t`Fill this in.` : undefined}
      />
      <div className="flex flex-wrap gap-3">
        <Button type="submit" kind="primary" isBusy={create.isPending}>
          <Trans>Make the token</Trans>
        </Button>
        <Button kind="bare" onClick={() => onDone(null)}>
          <Trans>Cancel</Trans>
        </Button>
      </div>
    </form>
  )
}
