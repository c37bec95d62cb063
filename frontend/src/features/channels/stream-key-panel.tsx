import { Trans, useLingui } from '@lingui/react/macro'
import { useQueryClient } from '@tanstack/react-query'
import { RefreshCw } from 'lucide-react'
import { useState } from 'react'
import { toast } from 'sonner'
import { api } from '@/api/client'
import { Button } from '@/ui/button'
import { CopyField } from '@/ui/copy-field'
import { Question } from '@/ui/dialog'
import { Failed } from '@/ui/failed'
import { ProblemNotice } from '@/ui/problem-notice'
import { Skeleton } from '@/ui/skeleton'

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
    // A secret is not kept longer than it is looked at.
    { staleTime: Infinity, gcTime: 0 },
  )
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
        <CopyField label={t`Stream key`} value={key.data.stream_key} isSecret testId="stream-key" />
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
  const queryClient = useQueryClient()
  const [isAsking, setAsking] = useState(false)
  const rotate = api.useMutation('post', '/api/v1/channels/{handle}/stream-key/rotate')
  async function replace() {
    try {
      const fresh = await rotate.mutateAsync({ params: { path: { handle } } })
      queryClient.setQueryData(keyQuery(handle).queryKey, fresh)
      setAsking(false)
      toast.success(t`The new key is in force. Put it into OBS.`)
    } catch {
      // Shown in the dialog, which stays open.
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
          setAsking(true)
        }}
      >
        <Trans>New key</Trans>
      </Button>
      <Question
        open={isAsking}
        onOpenChange={setAsking}
        title={<Trans>Make a new stream key?</Trans>}
        footer={
          <>
            <Button onClick={() => setAsking(false)}>
              <Trans>Keep the old one</Trans>
            </Button>
            <Button kind="danger" isBusy={rotate.isPending} onClick={() => void replace()}>
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
        <ProblemNotice error={rotate.error} />
      </Question>
    </>
  )
}
