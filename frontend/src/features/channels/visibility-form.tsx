import { Trans, useLingui } from '@lingui/react/macro'
import { useQueryClient } from '@tanstack/react-query'
import { useId, useState } from 'react'
import { toast } from 'sonner'
import { settled } from '@/api/accepted'
import { api } from '@/api/client'
import { classes } from '@/ui/classes'
import { ProblemNotice } from '@/ui/problem-notice'
import { channelQuery, type Channel } from './queries'
import { visibilities, visibilityWords, type Visibility } from './visibility-words'

/** Who may watch. A choice counts at once, and another one takes it back. */
export function VisibilityForm({ channel }: { channel: Channel }) {
  const { t } = useLingui()
  const queryClient = useQueryClient()
  const name = useId()
  const [chosen, setChosen] = useState<Visibility | null>(null)
  const [problem, setProblem] = useState<unknown>(null)
  const edit = api.useMutation('patch', '/api/v1/channels/{handle}')
  const shown = chosen ?? channel.visibility

  async function choose(visibility: Visibility) {
    setProblem(null)
    setChosen(visibility)
    try {
      const path = { handle: channel.handle }
      const saved = settled(await edit.mutateAsync({ params: { path }, body: { visibility } }))
      queryClient.setQueryData(channelQuery(channel.handle).queryKey, saved)
      void queryClient.invalidateQueries({ queryKey: ['channels'] })
      toast.success(t`Saved`)
    } catch (error) {
      setProblem(error)
    }
    setChosen(null)
  }

  return (
    <fieldset disabled={edit.isPending} className="flex flex-col gap-2">
      <legend className="sr-only">
        <Trans>Who may watch</Trans>
      </legend>
      <ProblemNotice error={problem} />
      {visibilities.map((visibility) => {
        const { name: word, meaning, icon } = visibilityWords[visibility]
        const isShown = shown === visibility
        return (
          <label
            key={visibility}
            className={classes(
              'grid cursor-pointer grid-cols-[auto_minmax(0,1fr)] gap-x-3 gap-y-0.5 rounded-sm border p-3 transition-colors has-focus-visible:outline-2 has-focus-visible:outline-accent-text',
              isShown ? 'border-accent-text bg-accent-wash' : 'border-line hover:border-line-strong',
            )}
          >
            <input
              type="radio"
              name={name}
              value={visibility}
              checked={isShown}
              onChange={() => void choose(visibility)}
              className="mt-0.5 size-4 accent-accent-text"
            />
            <span className="flex items-center gap-2 text-sm font-medium text-text [&>svg]:size-4 [&>svg]:text-faint">
              {word}
              {icon}
            </span>
            <span className="col-start-2 text-xs text-faint">{meaning}</span>
          </label>
        )
      })}
      <p className="mt-1 text-xs text-faint">
        <Trans>It counts at once: whoever may no longer watch is cut off within a second.</Trans>
      </p>
    </fieldset>
  )
}
