import { Trans, useLingui } from '@lingui/react/macro'
import { useQueryClient } from '@tanstack/react-query'
import { ImageUp, Trash2 } from 'lucide-react'
import { useEffect, useRef, useState } from 'react'
import { toast } from 'sonner'
import { settled } from '@/api/accepted'
import { client } from '@/api/client'
import { Avatar } from '@/ui/avatar'
import { Button } from '@/ui/button'
import { Notice } from '@/ui/notice'
import { ProblemNotice } from '@/ui/problem-notice'
import { madeSmall, mostBytes, takenKinds } from './picture-file'
import { nameOf, profileQuery, type Profile } from './profile-queries'

type Work = 'upload' | 'removal'

/** One's picture: chosen, shown as it will be, sent, taken away. */
export function AvatarForm({ profile }: { profile: Profile }) {
  const { t } = useLingui()
  const queryClient = useQueryClient()
  const file = useRef<HTMLInputElement>(null)
  const [preview, setPreview] = useState<string | null>(null)
  const [work, setWork] = useState<Work | null>(null)
  const [problem, setProblem] = useState<unknown>(null)
  const [isTooLarge, setTooLarge] = useState(false)

  // What was chosen is let go of when another is, or the page is left.
  useEffect(() => {
    return () => {
      if (preview !== null) URL.revokeObjectURL(preview)
    }
  }, [preview])

  function take(saved: Profile) {
    queryClient.setQueryData(profileQuery.queryKey, saved)
    void queryClient.invalidateQueries({ queryKey: ['account', saved.username] })
    void queryClient.invalidateQueries({ queryKey: ['channels'] })
    void queryClient.invalidateQueries({ queryKey: ['channel'] })
  }

  async function during(kind: Work, act: () => Promise<void>) {
    setWork(kind)
    setProblem(null)
    setTooLarge(false)
    try {
      await act()
    } catch (error) {
      setProblem(error)
    } finally {
      setPreview(null)
      setWork(null)
    }
  }

  const upload = (chosen: File) =>
    during('upload', async () => {
      setPreview(URL.createObjectURL(chosen))
      const picture = await madeSmall(chosen)
      if (picture.size > mostBytes) {
        setTooLarge(true)
        return
      }
      const { data } = await client.PUT('/api/v1/me/avatar', {
        // The body is the file itself, which the schema can only call a text.
        body: picture as unknown as string,
        bodySerializer: (body) => body,
        headers: { 'Content-Type': picture.type === '' ? 'application/octet-stream' : picture.type },
      })
      if (data !== undefined) take(settled(data))
      toast.success(t`Your picture is changed.`)
    })

  const remove = () =>
    during('removal', async () => {
      const { data } = await client.DELETE('/api/v1/me/avatar')
      if (data !== undefined) take(settled(data))
      file.current?.focus()
      toast.success(t`Your picture is removed.`)
    })

  return (
    <div className="flex flex-col gap-4">
      <ProblemNotice error={problem} />
      {isTooLarge && (
        <Notice
          tone="danger"
          role="alert"
          title={<Trans>This file has more than 8 MB. Make the picture smaller and try again.</Trans>}
        />
      )}
      <div className="flex flex-wrap items-center gap-5">
        <Avatar
          name={nameOf(profile)}
          src={preview ?? profile.avatar?.large_url}
          className="size-24 !text-xl"
        />
        <div className="flex min-w-0 flex-col gap-2">
          <div className="flex flex-wrap gap-2">
            <input
              ref={file}
              type="file"
              accept={takenKinds}
              aria-label={t`Choose a picture`}
              className="peer sr-only"
              id="avatar-file"
              disabled={work !== null}
              onChange={(event) => {
                const [chosen] = event.currentTarget.files ?? []
                // The same file again is a choice, too.
                event.currentTarget.value = ''
                if (chosen !== undefined) void upload(chosen)
              }}
            />
            <Button
              isBusy={work === 'upload'}
              disabled={work !== null}
              icon={<ImageUp aria-hidden className="size-4" />}
              aria-hidden
              tabIndex={-1}
              className="peer-focus-visible:outline-2 peer-focus-visible:outline-offset-2 peer-focus-visible:outline-accent-text"
              onClick={() => file.current?.click()}
            >
              {work === 'upload' ? (
                <Trans>Uploading…</Trans>
              ) : profile.avatar === null ? (
                <Trans>Choose a picture</Trans>
              ) : (
                <Trans>Choose another</Trans>
              )}
            </Button>
            {profile.avatar !== null && (
              <Button
                kind="bare"
                isBusy={work === 'removal'}
                disabled={work !== null}
                icon={<Trash2 aria-hidden className="size-4" />}
                onClick={() => void remove()}
              >
                <Trans>Remove</Trans>
              </Button>
            )}
          </div>
          <p className="text-xs text-faint">
            <Trans>JPEG, PNG or WebP. Its middle is shown, in a circle.</Trans>
          </p>
          <p role="status" className="sr-only">
            {work === 'upload' && <Trans>Uploading…</Trans>}
          </p>
        </div>
      </div>
    </div>
  )
}
