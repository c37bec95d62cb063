import type { MessageDescriptor } from '@lingui/core'
import { msg } from '@lingui/core/macro'
import { Trans, useLingui } from '@lingui/react/macro'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Download } from 'lucide-react'
import { useState, type ReactNode, type SubmitEvent } from 'react'
import { api } from '@/api/client'
import { noProof, ProofFields, sent } from '@/features/accounts/proof-fields'
import type { Account } from '@/features/accounts/session'
import { Button } from '@/ui/button'
import { Failed } from '@/ui/failed'
import { Notice } from '@/ui/notice'
import { useNow } from '@/ui/now'
import { ProblemNotice } from '@/ui/problem-notice'
import { Skeleton } from '@/ui/skeleton'
import { formatSize } from './size'
import { isUnderWay, personalExportKey, personalExportQuery, type PersonalExport } from './queries'

/** A copy of everything that is kept of oneself. */
export function ExportPanel({ account }: { account: Account }) {
  const { t } = useLingui()
  const found = useQuery(personalExportQuery)
  const [isAsking, setAsking] = useState(false)

  if (found.isPending) {
    return (
      <div role="status" aria-label={t`Loading the state of your copy`}>
        <Skeleton className="h-16 !rounded-lg" />
      </div>
    )
  }
  if (found.data === undefined) {
    return <Failed error={found.error} onRetry={() => void found.refetch()} isRetrying={found.isFetching} />
  }
  const copy = found.data
  return (
    <div className="flex flex-col gap-4">
      <State copy={copy} account={account} />
      {isAsking ? (
        <AskForm account={account} onDone={() => setAsking(false)} />
      ) : (
        !isUnderWay(copy?.status) && <AskButton copy={copy} onAsk={() => setAsking(true)} />
      )}
    </div>
  )
}

/** The way to a copy; until another may be asked for, when that is. */
function AskButton({ copy, onAsk }: { copy: PersonalExport | null; onAsk: () => void }) {
  const { i18n } = useLingui()
  const now = useNow()
  const againAt = copy?.again_at ?? null
  if (againAt !== null && Date.parse(againAt) > now) {
    const time = new Date(againAt).toLocaleTimeString(i18n.locale, { timeStyle: 'short' })
    return (
      <p className="text-sm text-faint">
        <Trans>You can ask for a new copy after {time}.</Trans>
      </p>
    )
  }
  return (
    <Button className="self-start" onClick={onAsk}>
      {copy?.status === 'ready' ? <Trans>Ask for a new copy</Trans> : <Trans>Ask for a copy</Trans>}
    </Button>
  )
}

/** Why there is no file, and what to do. */
const failures: Record<NonNullable<PersonalExport['error_code']>, MessageDescriptor> = {
  storage_full: msg`The server has no room left for the file. Tell whoever runs this Weir, and ask again later.`,
  interrupted: msg`The server was interrupted again and again while it wrote the file. Ask again; if that fails, too, tell whoever runs this Weir.`,
  unwritable: msg`The server could not write the file. Tell whoever runs this Weir, whose log says why, and ask again.`,
}

function State({ copy, account }: { copy: PersonalExport | null; account: Account }) {
  const { i18n, t } = useLingui()
  if (copy === null || copy.status === 'deleted') {
    return (
      <p className="text-sm text-soft">
        {copy === null ? (
          <Trans>You have not asked for a copy yet.</Trans>
        ) : (
          <Trans>Your last copy was deleted, because its time was over.</Trans>
        )}
      </p>
    )
  }
  if (copy.status === 'failed') {
    return (
      <Notice tone="danger" role="alert" title={<Trans>The copy could not be made</Trans>}>
        {copy.error_code === null ? null : <p>{i18n._(failures[copy.error_code])}</p>}
      </Notice>
    )
  }
  if (isUnderWay(copy.status)) {
    const percent = Math.round(copy.progress * 100)
    return (
      <div role="status" className="rounded-lg border p-4">
        <p className="text-sm font-medium text-text">
          {copy.status === 'waiting' ? (
            <Trans>Your copy is about to be made</Trans>
          ) : (
            <Trans>Your copy is being made: {percent} %</Trans>
          )}
        </p>
        <div
          role="progressbar"
          aria-label={t`How much of the copy is made`}
          aria-valuenow={percent}
          aria-valuemin={0}
          aria-valuemax={100}
          className="mt-3 h-1.5 overflow-hidden rounded-full bg-raised-high"
        >
          <div className="h-full bg-accent transition-[width]" style={{ width: `${percent}%` }} />
        </div>
        <p className="mt-3 text-xs text-faint">
          <Trans>You can leave this page: it goes on.</Trans>
        </p>
      </div>
    )
  }
  return <Ready copy={copy} account={account} />
}

function Ready({ copy, account }: { copy: PersonalExport; account: Account }) {
  const { i18n } = useLingui()
  const [isFetching, setFetching] = useState(false)
  const until =
    copy.expires_at === null
      ? ''
      : new Date(copy.expires_at).toLocaleDateString(i18n.locale, { dateStyle: 'long' })
  const size = formatSize(copy.size_bytes ?? 0, i18n.locale)
  return (
    <>
      <div className="flex flex-wrap items-center justify-between gap-4 rounded-lg border p-4">
        <div className="min-w-0">
          <p className="text-sm font-medium text-text">
            <Trans>Your copy is ready</Trans>
          </p>
          <p className="mt-0.5 text-xs text-faint">
            <Trans>
              {size}, kept until {until}
            </Trans>
          </p>
        </div>
        {!isFetching && (
          <Button kind="primary" onClick={() => setFetching(true)}>
            <DownloadWords />
          </Button>
        )}
      </div>
      {isFetching && <FetchForm account={account} onDone={() => setFetching(false)} />}
    </>
  )
}

function DownloadWords() {
  return (
    <>
      <Download aria-hidden className="size-4" />
      <Trans>Download</Trans>
    </>
  )
}

/** Has the server say where the file is, and the browser fetch it. */
function FetchForm({ account, onDone }: { account: Account; onDone: () => void }) {
  const locate = api.useMutation('post', '/api/v1/me/export/download')
  return (
    <ProofForm
      account={account}
      error={locate.error}
      isBusy={locate.isPending}
      words={<DownloadWords />}
      onProof={async (body) => {
        const { download_url } = await locate.mutateAsync({ body })
        const link = document.createElement('a')
        link.href = download_url
        link.download = ''
        link.click()
      }}
      onDone={onDone}
    />
  )
}

function AskForm({ account, onDone }: { account: Account; onDone: () => void }) {
  const queryClient = useQueryClient()
  const ask = api.useMutation('post', '/api/v1/me/export')
  return (
    <ProofForm
      account={account}
      error={ask.error}
      isBusy={ask.isPending}
      words={<Trans>Make the copy</Trans>}
      onProof={async (body) => {
        queryClient.setQueryData(personalExportKey, await ask.mutateAsync({ body }))
      }}
      onDone={onDone}
    />
  )
}

function ProofForm({
  account,
  error,
  isBusy,
  words,
  onProof,
  onDone,
}: {
  account: Account
  error: unknown
  isBusy: boolean
  words: ReactNode
  onProof: (proof: ReturnType<typeof sent>) => Promise<void>
  onDone: () => void
}) {
  const { t } = useLingui()
  const [proof, setProof] = useState(noProof)
  const [isTouched, setTouched] = useState(false)

  async function submit(event: SubmitEvent) {
    event.preventDefault()
    setTouched(true)
    if (proof.password === '') return
    try {
      await onProof(sent(proof))
      onDone()
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
      <ProblemNotice error={error} />
      <p className="text-sm text-soft">
        <Trans>Show once more that it is you: whoever has the copy knows all of it.</Trans>
      </p>
      <ProofFields
        account={account}
        proof={proof}
        onChange={setProof}
        error={isTouched && proof.password === '' ? t`Fill this in.` : undefined}
      />
      <div className="flex flex-wrap gap-3">
        <Button type="submit" kind="primary" isBusy={isBusy}>
          {words}
        </Button>
        <Button kind="bare" onClick={onDone}>
          <Trans>Cancel</Trans>
        </Button>
      </div>
    </form>
  )
}
