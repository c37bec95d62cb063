import { Plural, Trans, useLingui } from '@lingui/react/macro'
import { useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { Download, Ellipsis, Eye, Pencil, Trash2 } from 'lucide-react'
import { useState } from 'react'
import { toast } from 'sonner'
import { api, type Schemas } from '@/api/client'
import { Thumbnail } from '@/features/streams/thumbnail'
import { Button, IconButton } from '@/ui/button'
import { Ago } from '@/ui/clock'
import { Question } from '@/ui/dialog'
import { Failed } from '@/ui/failed'
import { TextField } from '@/ui/field'
import { Menu, MenuChoice, MenuContent, MenuItem, MenuSeparator, MenuTrigger } from '@/ui/menu'
import { ProblemNotice } from '@/ui/problem-notice'
import { Skeleton } from '@/ui/skeleton'
import { DownloadQuestion } from './download-question'
import { recordingsQuery, recordingSettingsQuery, type Recording } from './queries'
import { RecordingLimits } from './recording-limits'
import { clockText, sizeText, troubleOf, visibilityWords } from './words'

/** Whether streams are recorded, and all that was. How much is kept, and deleting, is the owner's. */
export function RecordingsPanel({ handle, isOwner }: { handle: string; isOwner: boolean }) {
  return (
    <div className="flex flex-col gap-6">
      <RecordingSwitch handle={handle} isOwner={isOwner} />
      <OwnRecordings handle={handle} isOwner={isOwner} />
    </div>
  )
}

function RecordingSwitch({ handle, isOwner }: { handle: string; isOwner: boolean }) {
  const { t } = useLingui()
  const queryClient = useQueryClient()
  const settings = useQuery(recordingSettingsQuery(handle))
  const change = api.useMutation('put', '/api/v1/channels/{handle}/recording-settings')
  if (settings.isPending) return <Skeleton className="h-16" />
  if (settings.data === undefined) {
    return (
      <Failed
        error={settings.error}
        onRetry={() => void settings.refetch()}
        isRetrying={settings.isFetching}
      />
    )
  }
  const { is_on: isOn, own_limits: own, server_limits: most, usage } = settings.data
  const days = own.keep_days ?? most.keep_days
  async function set(next: boolean) {
    try {
      const saved = await change.mutateAsync({
        params: { path: { handle } },
        body: { is_on: next, ...own },
      })
      queryClient.setQueryData(recordingSettingsQuery(handle).queryKey, saved)
      toast.success(
        next ? t`From the next stream on, streams are recorded.` : t`Streams are no longer recorded.`,
      )
    } catch {
      // Said below the switch.
    }
  }
  return (
    <div>
      <div className="flex items-start justify-between gap-4">
        <div className="min-w-0">
          <p id="record-label" className="text-sm font-medium text-text">
            <Trans>Record streams</Trans>
          </p>
          <p id="record-hint" className="mt-1 text-sm text-faint">
            {isOn ? (
              days === null ? (
                <Trans>Each stream becomes a video when it is over.</Trans>
              ) : (
                <Trans>
                  Each stream becomes a video when it is over, and is deleted after{' '}
                  <Plural value={days} one="# day" other="# days" />.
                </Trans>
              )
            ) : (
              <Trans>Streams are gone when they are over.</Trans>
            )}
          </p>
        </div>
        <button
          type="button"
          role="switch"
          aria-checked={isOn}
          aria-labelledby="record-label"
          aria-describedby="record-hint"
          disabled={change.isPending}
          onClick={() => void set(!isOn)}
          className={`relative h-7 w-12 shrink-0 rounded-full border transition-colors ${isOn ? 'border-accent bg-accent' : 'border-line-strong bg-raised-high'}`}
        >
          <span
            aria-hidden
            className={`absolute top-1/2 left-1 size-5 -translate-y-1/2 rounded-full transition-transform ${isOn ? 'translate-x-[1.1rem] bg-on-accent' : 'bg-line-strong'}`}
          />
        </button>
      </div>
      <ProblemNotice error={change.error} />
      {isOwner && (isOn || usage.count > 0) && (
        <div className="mt-5 border-t border-line pt-5">
          <RecordingLimits handle={handle} settings={settings.data} />
        </div>
      )}
    </div>
  )
}

function OwnRecordings({ handle, isOwner }: { handle: string; isOwner: boolean }) {
  const { t } = useLingui()
  const recordings = useInfiniteQuery({ ...recordingsQuery(handle), refetchInterval: 10_000 })
  const all = recordings.data?.pages.flatMap((page) => page.items) ?? []
  if (recordings.isPending) {
    return (
      <div role="status" aria-label={t`Loading videos`} className="flex flex-col gap-3">
        <Skeleton className="h-16" />
        <Skeleton className="h-16" />
      </div>
    )
  }
  if (recordings.isError && all.length === 0) {
    return (
      <Failed
        error={recordings.error}
        onRetry={() => void recordings.refetch()}
        isRetrying={recordings.isFetching}
      />
    )
  }
  if (all.length === 0) {
    return (
      <p className="rounded-sm border border-dashed border-line-strong/60 px-4 py-6 text-center text-sm text-faint">
        <Trans>No videos yet. Streams that are recorded appear here.</Trans>
      </p>
    )
  }
  return (
    <>
      <ul className="flex flex-col divide-y divide-line">
        {all.map((recording) => (
          <OwnRecording key={recording.id} recording={recording} isOwner={isOwner} />
        ))}
      </ul>
      {recordings.hasNextPage && (
        <Button
          isBusy={recordings.isFetchingNextPage}
          onClick={() => void recordings.fetchNextPage()}
          className="self-center"
        >
          <Trans>Show more</Trans>
        </Button>
      )}
    </>
  )
}

function OwnRecording({ recording, isOwner }: { recording: Recording; isOwner: boolean }) {
  const { t, i18n } = useLingui()
  const queryClient = useQueryClient()
  const [asks, setAsks] = useState<'edit' | 'delete' | 'download' | null>(null)
  const edit = api.useMutation('patch', '/api/v1/recordings/{id}')
  const { id } = recording
  const { handle } = recording.channel
  const trouble = troubleOf(recording, i18n)
  const refresh = () =>
    Promise.all([
      queryClient.invalidateQueries({ queryKey: ['recordings', handle] }),
      queryClient.invalidateQueries({ queryKey: ['recording', id] }),
      queryClient.invalidateQueries({ queryKey: ['recording-settings', handle] }),
    ])
  async function change(body: Schemas['EditRecordingRequest']) {
    try {
      await edit.mutateAsync({ params: { path: { id } }, body })
      await refresh()
      toast.success(t`Saved`)
    } catch (error) {
      toast.error(t`It could not be saved. Try again.`)
      throw error
    }
  }
  return (
    <li className="flex flex-wrap items-center gap-x-4 py-3">
      <Thumbnail url={recording.thumbnail_url} isLive={false} className="w-20 shrink-0 rounded-sm sm:w-28" />
      <div className="min-w-0 flex-1">
        <p className="truncate text-sm font-medium text-text">
          {recording.status === 'ready' ? (
            <Link to="/$handle/videos/$id" params={{ handle, id }} className="hover:text-accent-text">
              {recording.title}
            </Link>
          ) : (
            recording.title
          )}
        </p>
        <p className="mt-0.5 flex flex-wrap gap-x-3 text-xs text-faint tabular-nums">
          <Ago at={recording.started_at} />
          {recording.duration_ms !== null && <span>{clockText(recording.duration_ms)}</span>}
          {recording.size_bytes !== null && <span>{sizeText(recording.size_bytes, i18n.locale)}</span>}
          {recording.status === 'ready' && recording.visibility !== 'published' && (
            <span>{i18n._(visibilityWords[recording.visibility])}</span>
          )}
          {recording.status === 'recording' && (
            <span className="font-medium text-live-text">
              <Trans>Being recorded</Trans>
            </span>
          )}
        </p>
      </div>
      {(recording.status === 'ready' || (recording.status === 'failed' && isOwner)) && (
        <Menu>
          <MenuTrigger asChild>
            <IconButton label={t`More about ${recording.title}`}>
              <Ellipsis aria-hidden className="size-5" />
            </IconButton>
          </MenuTrigger>
          <MenuContent>
            {recording.status === 'ready' && (
              <>
                <MenuItem onSelect={() => setAsks('edit')}>
                  <Pencil aria-hidden />
                  <Trans>Change the title</Trans>
                </MenuItem>
                {recording.download_url !== null && (
                  <MenuItem onSelect={() => setAsks('download')}>
                    <Download aria-hidden />
                    <Trans>Download</Trans>
                  </MenuItem>
                )}
                <MenuItem
                  onSelect={() =>
                    void change({ is_download_allowed: !recording.is_download_allowed }).catch(said)
                  }
                >
                  <Eye aria-hidden />
                  {recording.is_download_allowed ? (
                    <Trans>No downloads by viewers</Trans>
                  ) : (
                    <Trans>Let viewers download it</Trans>
                  )}
                </MenuItem>
                <MenuSeparator />
                <MenuChoice
                  label={t`Who finds it`}
                  value={recording.visibility}
                  onChoose={(visibility) => void change({ visibility }).catch(said)}
                  choices={(['published', 'unlisted', 'archived'] as const).map((value) => ({
                    value,
                    text: i18n._(visibilityWords[value]),
                  }))}
                />
                {isOwner && <MenuSeparator />}
              </>
            )}
            {isOwner && (
              <MenuItem onSelect={() => setAsks('delete')} className="text-danger">
                <Trash2 aria-hidden />
                <Trans>Delete</Trans>
              </MenuItem>
            )}
          </MenuContent>
        </Menu>
      )}
      {trouble !== null && <p className="mt-2 basis-full text-xs text-warning">{trouble}</p>}
      {asks === 'edit' && (
        <EditTitle
          recording={recording}
          onClose={() => setAsks(null)}
          onSave={(title) => change({ title })}
        />
      )}
      {asks === 'download' && recording.download_url !== null && (
        <DownloadQuestion url={recording.download_url} onClose={() => setAsks(null)} />
      )}
      {asks === 'delete' && (
        <DeleteRecording recording={recording} onClose={() => setAsks(null)} onDeleted={refresh} />
      )}
    </li>
  )
}

function said(): void {
  // The refusal was shown where it was met.
}

function EditTitle({
  recording,
  onClose,
  onSave,
}: {
  recording: Recording
  onClose: () => void
  onSave: (title: string) => Promise<void>
}) {
  const { t } = useLingui()
  const [title, setTitle] = useState(recording.title)
  const [isBusy, setBusy] = useState(false)
  const isGood = title.trim() !== '' && title.trim().length <= 140
  async function save() {
    setBusy(true)
    try {
      await onSave(title.trim())
      onClose()
    } catch {
      setBusy(false)
    }
  }
  return (
    <Question
      open
      onOpenChange={(open) => {
        if (!open) onClose()
      }}
      title={<Trans>Change the title</Trans>}
      form={
        <TextField
          label={t`Title`}
          value={title}
          maxLength={140}
          autoComplete="off"
          onChange={(event) => setTitle(event.target.value)}
        />
      }
      footer={
        <>
          <Button onClick={onClose}>
            <Trans>Cancel</Trans>
          </Button>
          <Button kind="primary" isBusy={isBusy} disabled={!isGood || isBusy} onClick={() => void save()}>
            <Trans>Save</Trans>
          </Button>
        </>
      }
    />
  )
}

function DeleteRecording({
  recording,
  onClose,
  onDeleted,
}: {
  recording: Recording
  onClose: () => void
  onDeleted: () => Promise<unknown>
}) {
  const { t } = useLingui()
  const remove = api.useMutation('delete', '/api/v1/recordings/{id}')
  async function go() {
    try {
      await remove.mutateAsync({ params: { path: { id: recording.id } } })
      await onDeleted()
      onClose()
      toast.success(t`Deleted`)
    } catch {
      // Shown in the dialog, which stays open.
    }
  }
  return (
    <Question
      open
      onOpenChange={(open) => {
        if (!open) onClose()
      }}
      title={<Trans>Delete this video?</Trans>}
      footer={
        <>
          <Button onClick={onClose}>
            <Trans>Keep it</Trans>
          </Button>
          <Button kind="danger" isBusy={remove.isPending} onClick={() => void go()}>
            <Trans>Delete it</Trans>
          </Button>
        </>
      }
    >
      <p>
        <Trans>“{recording.title}” is gone for good, for you and for everybody who has its link.</Trans>
      </p>
      <ProblemNotice error={remove.error} />
    </Question>
  )
}
