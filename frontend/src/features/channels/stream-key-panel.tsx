import { Trans, useLingui } from '@lingui/react/macro'
import { useQueryClient } from '@tanstack/react-query'
import { RefreshCw } from 'lucide-react'
import { useId, useState, type SubmitEvent } from 'react'
import { toast } from 'sonner'
import { api } from '@/api/client'
import { noProof, ProofFields } from '@/features/accounts/proof-fields'
import { useSession } from '@/features/accounts/session'
import { Button } from '@/ui/button'
import { CopyField } from '@/ui/copy-field'
import { Question } from '@/ui/dialog'
import { Failed } from '@/ui/failed'
import { ProblemNotice } from '@/ui/problem-notice'
import { Skeleton } from '@/ui/skeleton'
import { needsProof, ProveForm, useProof } from './prove-form'

function keyQuery(handle: string) {
  return api.queryOptions('get', '/api/v1/channels/{handle}/stream-key', { params: { path: { handle } } })
}

/** Server and key for the encoder. */
export function StreamKeyPanel({ handle }: { handle: string }) {
  const { t } = useLingui()
  const key = api.useQuery(
    'get',
    '/api/v1/channels/{handle}/stream-key',
    { params: { path: { handle } } },
    {
      // A secret is not kept longer than it is looked at.
      staleTime: Infinity,
      gcTime: 0,
      // Coming back to the page proves nothing: the answer would be the same.
      refetchOnWindowFocus: (query) => !needsProof(query.state.error),
    },
  )
  const [wasRefused, setRefused] = useState(false)
  const [isProved, setProved] = useState(false)
  // While it is asked for once more the refusal is forgotten, and what was typed must not be.
  const isRefused = key.isPending ? wasRefused : key.data === undefined && needsProof(key.error)
  if (isRefused !== wasRefused) setRefused(isRefused)
  if (isRefused) {
    return (
      <ProveForm
        onProved={() => {
          setProved(true)
          return key.refetch()
        }}
      />
    )
  }
  if (key.isPending) {
    return (
      <div role="status" aria-label={t`Loading the stream key`} className="flex flex-col gap-4">
        <Skeleton className="h-17" />
        <Skeleton className="h-17" />
      </div>
    )
  }
  if (key.data === undefined) {
    return <Failed error={key.error} onRetry={() => void key.refetch()} isRetrying={key.isFetching} />
  }
  return (
    <div className="flex flex-col gap-4">
      <CopyField label={t`Server`} value={key.data.rtmp_url} testId="rtmp-url" />
      {key.data.rtmps_url !== null && (
        <div>
          <CopyField label={t`Server, encrypted`} value={key.data.rtmps_url} testId="rtmps-url" />
          <p className="mt-2 text-xs text-faint">
            <Trans>Use this one if your encoder takes it: nobody on the way can read the key.</Trans>
          </p>
        </div>
      )}
      <div>
        <CopyField
          label={t`Stream key`}
          value={key.data.stream_key}
          isSecret
          takesFocus={isProved}
          testId="stream-key"
        />
        <div className="mt-2 flex flex-wrap items-start justify-between gap-x-4 gap-y-1">
          <p className="max-w-xs grow basis-52 text-xs text-faint">
            <Trans>Whoever has the key can publish on your channel. Keep it out of the picture.</Trans>
          </p>
          <RotateKey handle={handle} />
        </div>
      </div>
    </div>
  )
}

function RotateKey({ handle }: { handle: string }) {
  const { t } = useLingui()
  const state = useSession()
  const queryClient = useQueryClient()
  const formId = useId()
  const [isAsking, setAsking] = useState(false)
  const [proof, setProof] = useState(noProof)
  const [isTouched, setTouched] = useState(false)
  // Once it was refused: the page may have been open for longer than one counts as just signed in.
  const [takesProof, setTakesProof] = useState(false)
  const { prove, ...proving } = useProof()
  const rotate = api.useMutation('post', '/api/v1/channels/{handle}/stream-key/rotate')

  async function replace(event: SubmitEvent) {
    event.preventDefault()
    setTouched(true)
    if (takesProof && proof.password === '') return
    try {
      if (takesProof) {
        await prove(proof)
        // Whatever becomes of the rest: a code is good for once.
        setTakesProof(false)
        setProof(noProof)
      }
      const fresh = await rotate.mutateAsync({ params: { path: { handle } } })
      queryClient.setQueryData(keyQuery(handle).queryKey, fresh)
      setAsking(false)
      toast.success(t`The new key is in force. Put it into OBS.`)
    } catch (error) {
      // Shown in the dialog, which stays open.
      if (!needsProof(error)) return
      rotate.reset()
      setTouched(false)
      setTakesProof(true)
    }
  }
  return (
    <>
      <Button
        kind="bare"
        className="-mr-2 !h-9 !px-2 text-xs"
        icon={<RefreshCw aria-hidden className="size-4" />}
        onClick={() => {
          rotate.reset()
          proving.reset()
          setProof(noProof)
          setTouched(false)
          setTakesProof(false)
          setAsking(true)
        }}
      >
        <Trans>New key</Trans>
      </Button>
      <Question
        open={isAsking}
        onOpenChange={setAsking}
        title={<Trans>Make a new stream key?</Trans>}
        form={
          <form
            id={formId}
            noValidate
            onSubmit={(event) => void replace(event)}
            className="flex flex-col gap-4"
          >
            <ProblemNotice error={proving.error ?? rotate.error} />
            {takesProof && state.status === 'signed-in' && (
              <>
                <p role="status" className="text-sm text-soft">
                  <Trans>You signed in a while ago, so this takes your password.</Trans>
                </p>
                <ProofFields
                  account={state.account}
                  proof={proof}
                  onChange={setProof}
                  takesFocus
                  error={isTouched && proof.password === '' ? t`Fill this in.` : undefined}
                />
              </>
            )}
          </form>
        }
        footer={
          <>
            <Button onClick={() => setAsking(false)}>
              <Trans>Keep the old one</Trans>
            </Button>
            <Button type="submit" form={formId} kind="danger" isBusy={rotate.isPending || proving.isPending}>
              <Trans>Make a new key</Trans>
            </Button>
          </>
        }
      >
        <ul className="list-disc space-y-1.5 pl-5">
          <li>
            <Trans>The old key stops working at once.</Trans>
          </li>
          <li>
            <Trans>If you are live, the stream is cut.</Trans>
          </li>
          <li>
            <Trans>OBS needs the new key before you can go live again.</Trans>
          </li>
        </ul>
      </Question>
    </>
  )
}
