import { Trans, useLingui } from '@lingui/react/macro'
import { Download } from 'lucide-react'
import { useQuery } from '@tanstack/react-query'
import { ownAddress } from '@/api/own-address'
import { Button } from '@/ui/button'
import { Question } from '@/ui/dialog'
import { Failed } from '@/ui/failed'
import { Skeleton } from '@/ui/skeleton'
import { clockText, sizeText } from './words'

interface FileToHave {
  name: string
  starts_at_ms: number
  duration_ms: number
  size_bytes: number
}

/** The files of a recording: one, unless the stream changed its picture or sound in between. */
async function filesBeside(downloadUrl: string, signal: AbortSignal): Promise<FileToHave[]> {
  const list = ownAddress(downloadUrl).replace(/\/download\.mp4$/, '/downloads.json')
  const answer = await fetch(list, { signal })
  if (!answer.ok) throw new Error(`downloads.json: ${String(answer.status)}`)
  const { items } = (await answer.json()) as { items: FileToHave[] }
  return items
}

/** Offers what there is to download, with what each file holds where there are several. */
export function DownloadQuestion({ url, onClose }: { url: string; onClose: () => void }) {
  const { t, i18n } = useLingui()
  const files = useQuery({
    queryKey: ['recording-files', url],
    queryFn: ({ signal }) => filesBeside(url, signal),
    staleTime: Infinity,
  })
  const address = (name: string) => ownAddress(url).replace(/\/download\.mp4$/, `/${name}`)
  return (
    <Question
      open
      onOpenChange={(open) => {
        if (!open) onClose()
      }}
      title={<Trans>Download</Trans>}
      footer={
        <Button onClick={onClose}>
          <Trans>Close</Trans>
        </Button>
      }
    >
      {files.isPending ? (
        <Skeleton className="h-14" />
      ) : files.data === undefined ? (
        <Failed error={files.error} onRetry={() => void files.refetch()} isRetrying={files.isFetching} />
      ) : (
        <>
          {files.data.length > 1 && (
            <p>
              <Trans>
                The stream changed its picture or sound in between, so the video is several files, one after
                the other.
              </Trans>
            </p>
          )}
          <ul className="flex flex-col gap-2">
            {files.data.map((file, place) => {
              const from = clockText(file.starts_at_ms)
              const until = clockText(file.starts_at_ms + file.duration_ms)
              return (
                <li key={file.name}>
                  <a
                    href={address(file.name)}
                    download
                    aria-label={t`File ${place + 1}, from ${from} to ${until}`}
                    className="flex items-center gap-3 rounded-sm border border-line p-3 text-sm text-text hover:border-line-strong"
                  >
                    <Download aria-hidden className="size-4 shrink-0 text-faint" />
                    <span className="grow tabular-nums">
                      {from}–{until}
                    </span>
                    <span className="text-faint tabular-nums">{sizeText(file.size_bytes, i18n.locale)}</span>
                  </a>
                </li>
              )
            })}
          </ul>
        </>
      )}
    </Question>
  )
}
