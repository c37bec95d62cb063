import 'media-chrome/dist/media-fullscreen-button.js'
import 'media-chrome/dist/media-mute-button.js'
import 'media-chrome/dist/media-pip-button.js'
import 'media-chrome/dist/media-play-button.js'
import 'media-chrome/dist/media-volume-range.js'
import { Trans, useLingui } from '@lingui/react/macro'
import {
  Activity,
  Maximize,
  Minimize,
  Pause,
  PictureInPicture2,
  Play,
  RectangleHorizontal,
  Settings2,
  Volume1,
  Volume2,
  VolumeX,
} from 'lucide-react'
import { addTranslation, setLanguage } from 'media-chrome/dist/utils/i18n.js'
import { useEffect, useState } from 'react'
import { classes } from '@/ui/classes'
import { Menu, MenuChoice, MenuContent, MenuTrigger } from '@/ui/menu'
import type { LiveSource, Quality } from './live-source'

/** Media Chrome names its buttons in a language of its own choosing; here it learns ours. */
function useElementWords() {
  const { t, i18n } = useLingui()
  addTranslation(i18n.locale, {
    play: t`Play`,
    pause: t`Pause`,
    mute: t`Mute`,
    unmute: t`Unmute`,
    volume: t`Volume`,
    'enter fullscreen mode': t`Full screen`,
    'exit fullscreen mode': t`Leave full screen`,
    'enter picture in picture mode': t`Picture in picture`,
    'exit picture in picture mode': t`Leave picture in picture`,
    'video player': t`Player`,
  })
  setLanguage(i18n.locale)
}

interface ControlsProps {
  source: LiveSource | null
  qualities: Quality[]
  isTheatre: boolean
  onTheatre: ((isTheatre: boolean) => void) | undefined
  showsFigures: boolean
  onFigures: ((shows: boolean) => void) | undefined
  container: HTMLElement | null
}

export function Controls({
  source,
  qualities,
  isTheatre,
  onTheatre,
  showsFigures,
  onFigures,
  container,
}: ControlsProps) {
  const { t } = useLingui()
  useElementWords()
  return (
    <div className="flex w-full items-center gap-0.5 bg-linear-to-t from-picture/90 to-transparent px-2 pt-12 pb-1.5 sm:px-3 sm:pb-2">
      <media-play-button notooltip title={t`Play or pause (K)`}>
        <Play slot="play" className="!fill-current" />
        <Pause slot="pause" className="!fill-current" />
      </media-play-button>
      <media-mute-button notooltip title={t`Sound on or off (M)`}>
        <VolumeX slot="off" />
        <Volume1 slot="low" />
        <Volume1 slot="medium" />
        <Volume2 slot="high" />
      </media-mute-button>
      <media-volume-range />
      <LiveEdge source={source} />
      <div className="grow" />
      {qualities.length > 1 && source !== null && (
        <QualityMenu source={source} qualities={qualities} container={container} />
      )}
      {onFigures !== undefined && (
        <button
          type="button"
          aria-label={t`Figures of the stream`}
          title={t`Figures of the stream (S)`}
          aria-pressed={showsFigures}
          onClick={() => onFigures(!showsFigures)}
          className="player-button max-[26rem]:!hidden"
        >
          <Activity aria-hidden />
        </button>
      )}
      <media-pip-button notooltip title={t`Picture in picture (I)`}>
        <PictureInPicture2 slot="enter" />
        <PictureInPicture2 slot="exit" />
      </media-pip-button>
      {onTheatre !== undefined && (
        <button
          type="button"
          aria-label={t`Theatre`}
          title={t`Theatre (T)`}
          aria-pressed={isTheatre}
          onClick={() => onTheatre(!isTheatre)}
          className="player-button max-lg:!hidden"
        >
          <RectangleHorizontal aria-hidden className={classes(isTheatre && '!fill-current')} />
        </button>
      )}
      <media-fullscreen-button notooltip title={t`Full screen (F)`}>
        <Maximize slot="enter" />
        <Minimize slot="exit" />
      </media-fullscreen-button>
    </div>
  )
}

/** Past this the viewer is told that the picture is old. */
const behindSeconds = 4

/** "Live" with the latency, or the way back to it. */
function LiveEdge({ source }: { source: LiveSource | null }) {
  const { i18n, t } = useLingui()
  const [edge, setEdge] = useState<{ behind: number | null; latency: number | null }>({
    behind: null,
    latency: null,
  })
  useEffect(() => {
    if (source === null) return
    const timer = setInterval(
      () => setEdge({ behind: source.behindSeconds, latency: source.figures().latencySeconds }),
      1000,
    )
    return () => clearInterval(timer)
  }, [source])
  const isBehind = edge.behind !== null && edge.behind > behindSeconds
  const latency =
    edge.latency === null
      ? null
      : new Intl.NumberFormat(i18n.locale, {
          style: 'unit',
          unit: 'second',
          unitDisplay: 'narrow',
          maximumFractionDigits: 1,
          minimumFractionDigits: 1,
        }).format(edge.latency)
  return (
    <button
      type="button"
      disabled={!isBehind}
      onClick={() => source?.goLive()}
      className="ml-1 inline-flex h-10 items-center gap-2 rounded-sm px-2 text-xs font-semibold whitespace-nowrap text-on-picture enabled:hover:bg-on-picture/15 disabled:cursor-default"
    >
      <span
        aria-hidden
        className={classes('size-2 rounded-full', isBehind ? 'bg-on-picture-soft' : 'bg-live')}
      />
      {isBehind ? <Trans context="player">Go live</Trans> : <Trans>Live</Trans>}
      {latency !== null && (
        <span
          className="font-normal text-on-picture-soft tabular-nums max-[22rem]:hidden"
          title={t`Behind the encoder, about`}
        >
          {latency}
        </span>
      )}
    </button>
  )
}

function QualityMenu({
  source,
  qualities,
  container,
}: {
  source: LiveSource
  qualities: Quality[]
  container: HTMLElement | null
}) {
  const { t } = useLingui()
  const [chosen, setChosen] = useState('-1')
  return (
    <Menu>
      <MenuTrigger asChild>
        <button type="button" aria-label={t`Quality`} title={t`Quality`} className="player-button">
          <Settings2 aria-hidden />
        </button>
      </MenuTrigger>
      <MenuContent container={container} side="top">
        <MenuChoice
          label={t`Quality`}
          value={chosen}
          onChoose={(value) => {
            setChosen(value)
            source.chooseQuality(Number(value))
          }}
          choices={[
            { value: '-1', text: t`Automatic` },
            ...qualities
              .toSorted((a, b) => b.height - a.height || b.bitrate - a.bitrate)
              .map((quality) => ({
                value: String(quality.index),
                text: `${quality.height}p${quality.frameRate > 31 ? String(Math.round(quality.frameRate)) : ''}`,
              })),
          ]}
        />
      </MenuContent>
    </Menu>
  )
}
