import { Trans, useLingui } from '@lingui/react/macro'
import { Activity, RectangleHorizontal, RotateCcw, Settings2 } from 'lucide-react'
import { useEffect, useState } from 'react'
import { classes } from '@/ui/classes'
import { Menu, MenuChoice, MenuContent, MenuTrigger } from '@/ui/menu'
import { FullscreenButton, PictureInPictureButton, PlayAndSound, useElementWords } from './buttons'
import { qualityName, type Quality } from './levels'
import { behindLiveSeconds } from './catch-up'
import type { LiveSource } from './live-source'

interface ControlsProps {
  source: LiveSource | null
  qualities: Quality[]
  shownQuality: string | null
  /** How far back one can go, in seconds; `null` where one cannot. */
  rewindSeconds: number | null
  isRewound: boolean
  isTheatre: boolean
  onTheatre: ((isTheatre: boolean) => void) | undefined
  showsFigures: boolean
  onFigures: ((shows: boolean) => void) | undefined
  container: HTMLElement | null
}

export function Controls({
  source,
  qualities,
  shownQuality,
  rewindSeconds,
  isRewound,
  isTheatre,
  onTheatre,
  showsFigures,
  onFigures,
  container,
}: ControlsProps) {
  const { t } = useLingui()
  useElementWords()
  return (
    <div className="flex w-full flex-wrap items-center gap-0.5 bg-linear-to-t from-picture/90 to-transparent px-2 pt-12 pb-1.5 sm:px-3 sm:pb-2">
      <PlayAndSound />
      {source !== null && (
        <button
          type="button"
          aria-label={t`Back 10 seconds`}
          title={t`Back 10 seconds (J)`}
          onClick={() => source.seekBy(-10)}
          className="player-button max-[26rem]:!hidden"
        >
          <RotateCcw aria-hidden />
        </button>
      )}
      <LiveEdge source={source} isRewound={isRewound} />
      {source !== null && rewindSeconds !== null ? (
        <RewindRange source={source} seconds={rewindSeconds} />
      ) : (
        <div className="grow" />
      )}
      {/* On phones the time line has the row above, and the buttons keep to their ends. */}
      <div className="hidden grow max-[30rem]:block" />
      {qualities.length > 1 && source !== null && !isRewound && (
        <QualityMenu source={source} qualities={qualities} shown={shownQuality} container={container} />
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
      <PictureInPictureButton />
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
      <FullscreenButton />
    </div>
  )
}

/** "Live" with the latency, or the way back to it. */
function LiveEdge({ source, isRewound }: { source: LiveSource | null; isRewound: boolean }) {
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
  const isBehind = isRewound || (edge.behind !== null && edge.behind > behindLiveSeconds)
  const latency =
    edge.latency === null || isRewound
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

/** The time line of what can be rewound: its end is now. */
function RewindRange({ source, seconds }: { source: LiveSource; seconds: number }) {
  const { t, i18n } = useLingui()
  const [behind, setBehind] = useState(0)
  const [wanted, setWanted] = useState<number | null>(null)
  useEffect(() => {
    const timer = setInterval(() => {
      setBehind(source.isRewound ? (source.behindSeconds ?? 0) : 0)
    }, 500)
    return () => clearInterval(timer)
  }, [source])
  const shown = Math.min(wanted ?? behind, seconds)
  const seek = () => {
    if (wanted === null) return
    source.seekBehind(wanted)
    setBehind(wanted)
    setWanted(null)
  }
  const minutes = Math.floor(shown / 60)
  const rest = String(Math.floor(shown % 60)).padStart(2, '0')
  const text = shown < 1 ? t`Live` : t`${minutes.toLocaleString(i18n.locale)}:${rest} before now`
  return (
    <div className="group flex min-w-0 grow items-center gap-2 px-2 max-[30rem]:order-first max-[30rem]:-mb-2 max-[30rem]:basis-full">
      <input
        type="range"
        aria-label={t`Rewind`}
        aria-valuetext={text}
        title={text}
        min={-Math.floor(seconds)}
        max={0}
        step={1}
        value={-Math.round(shown)}
        onChange={(event) => setWanted(-Number(event.target.value))}
        onPointerUp={seek}
        onKeyUp={seek}
        onBlur={seek}
        className="h-10 w-full min-w-0 cursor-pointer accent-live max-[30rem]:h-8"
      />
      {shown >= 1 && (
        <span className="text-xs whitespace-nowrap text-on-picture-soft tabular-nums">
          −{minutes.toLocaleString(i18n.locale)}:{rest}
        </span>
      )}
    </div>
  )
}

const automatic = 'automatic'

function QualityMenu({
  source,
  qualities,
  shown,
  container,
}: {
  source: LiveSource
  qualities: Quality[]
  shown: string | null
  container: HTMLElement | null
}) {
  const { t } = useLingui()
  const [chosen, setChosen] = useState(automatic)
  const playing = qualities.find(({ id }) => id === shown)
  const playingName = playing === undefined ? null : qualityName(playing)
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
          value={qualities.some(({ id }) => id === chosen) ? chosen : automatic}
          onChoose={(value) => {
            setChosen(value)
            source.chooseQuality(value === automatic ? null : value)
          }}
          choices={[
            {
              value: automatic,
              text: playingName === null ? t`Automatic` : t`Automatic (now ${playingName})`,
            },
            ...qualities
              .toSorted((a, b) => b.height - a.height || b.bitrate - a.bitrate)
              .map((quality) => ({ value: quality.id, text: qualityName(quality) })),
          ]}
        />
      </MenuContent>
    </Menu>
  )
}
