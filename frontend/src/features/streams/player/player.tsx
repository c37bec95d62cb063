import 'media-chrome/dist/media-controller.js'
import { Trans, useLingui } from '@lingui/react/macro'
import { AudioLines, MonitorX, Play, VolumeOff } from 'lucide-react'
import { useCallback, useEffect, useId, useRef, useState, type ReactNode } from 'react'
import { classes } from '@/ui/classes'
import { Spinner } from '@/ui/spinner'
import { Controls } from './controls'
import { toggleFullscreen, togglePictureInPicture, useKeptMute } from './element'
import { Figures } from './figures'
import { usePlayerKeys } from './hotkeys'
import type { Quality } from './levels'
import { LiveSource } from './live-source'
import type { PictureState, SourceState } from './source-state'
import { keepVolume, readVolume } from './volume'
import { WaitsFor } from './waits-for'

// In one file with the player, which is fetched early.
export { loadEarly, loadNamed } from './early'

export interface PlayerProps {
  /** The stable address of the channel. */
  src: string
  poster: string | null
  label: string
  /** Without theatre and keys of the page: a preview beside other things. */
  isPreview?: boolean
  isTheatre?: boolean
  onTheatre?: (isTheatre: boolean) => void
  onState?: (state: SourceState) => void
  /** Figures that only the page knows, shown in the overlay. */
  remark?: ReactNode
  /** How long the stream stays open for an encoder that is lost. */
  waitsSeconds?: number
}

/** Plays a channel live. See {@link LiveSource} for how it keeps playing. */
export function Player({
  src,
  poster,
  label,
  isPreview = false,
  isTheatre = false,
  onTheatre,
  onState,
  remark,
  waitsSeconds,
}: PlayerProps) {
  const { i18n } = useLingui()
  const id = useId()
  const frame = useRef<HTMLDivElement>(null)
  const video = useRef<HTMLVideoElement>(null)
  const still = useRef<HTMLCanvasElement>(null)
  const [place, setPlace] = useState<HTMLDivElement | null>(null)
  const [source, setSource] = useState<LiveSource | null>(null)
  const [state, setState] = useState<SourceState>('loading')
  const [hasShown, setHasShown] = useState(false)
  const [picture, setPicture] = useState<PictureState>('there')
  const [qualities, setQualities] = useState<Quality[]>([])
  const [shownQuality, setShownQuality] = useState<string | null>(null)
  const [rewind, setRewind] = useState<{ isRewound: boolean; seconds: number | null }>({
    isRewound: false,
    seconds: null,
  })
  const [isPaused, setPaused] = useState(false)
  const [isSilenced, setSilenced] = useState(false)
  const [showsFigures, setShowsFigures] = useState(false)
  const report = useRef(onState)
  useEffect(() => {
    report.current = onState
  })

  useEffect(() => {
    const element = video.current
    if (element === null) return
    const kept = isPreview ? null : readVolume()
    if (kept !== null) element.volume = kept.level
    element.muted = kept?.isMuted ?? true
    const live = new LiveSource(element, src, {
      onState: (next) => {
        // The last picture stays in sight while the source is loaded anew beneath it.
        if (isAway(next)) freeze(element, still.current)
        if (next === 'playing') setHasShown(true)
        setState(next)
        report.current?.(next)
      },
      onPicture: setPicture,
      onQualities: setQualities,
      onShownQuality: setShownQuality,
      onRewind: (isRewound, seconds) => setRewind({ isRewound, seconds }),
    })
    setSource(live)
    return () => {
      live.destroy()
      setSource(null)
    }
  }, [src, isPreview])

  const followVideo = useCallback(() => {
    const element = video.current
    if (element === null) return
    setPaused(element.paused)
    // Silence that nobody asked for is offered to be ended.
    setSilenced(element.muted && readVolume()?.isMuted !== true)
  }, [])

  useKeptMute(frame, video, !isPreview)

  const setMuted = (isMuted: boolean) => {
    const element = video.current
    if (element === null) return
    element.muted = isMuted
    if (!isMuted && element.volume === 0) element.volume = 0.5
    if (!isPreview) keepVolume({ level: element.volume, isMuted })
    followVideo()
  }

  usePlayerKeys(
    frame,
    {
      togglePlay: () => {
        if (video.current?.paused === true) void source?.play()
        else video.current?.pause()
      },
      toggleMute: () => setMuted(!(video.current?.muted ?? true)),
      toggleFullscreen: () => toggleFullscreen(frame.current),
      togglePictureInPicture: () => togglePictureInPicture(video.current),
      toggleTheatre: () => onTheatre?.(!isTheatre),
      toggleFigures: () => setShowsFigures((shows) => !shows),
      seekBy: (seconds) => {
        source?.seekBy(seconds)
      },
      changeVolume: (by) => {
        const element = video.current
        if (element === null) return
        element.volume = Math.min(1, Math.max(0, element.volume + by))
        setMuted(element.volume === 0)
      },
    },
    !isPreview,
  )

  const isGone = isAway(state)
  return (
    <div
      ref={(element) => {
        frame.current = element
        setPlace(element)
      }}
      id={id}
      role="region"
      aria-label={label}
      className="relative size-full overflow-hidden bg-picture text-on-picture"
    >
      <media-controller
        nohotkeys
        novolumepref
        nomutedpref
        nosubtitleslangpref
        noautoseektolive
        defaultstreamtype="live"
        fullscreenelement={id}
      >
        {/* eslint-disable-next-line jsx-a11y/media-has-caption -- captions of a live stream travel inside it */}
        <video
          ref={video}
          slot="media"
          data-testid="player-video"
          playsInline
          tabIndex={-1}
          aria-label={label}
          onPlay={followVideo}
          onPause={followVideo}
          onVolumeChange={() => {
            const element = video.current
            if (element !== null && !isPreview && !element.muted)
              keepVolume({ level: element.volume, isMuted: false })
            followVideo()
          }}
        />
        <Controls
          key={i18n.locale}
          source={source}
          qualities={qualities}
          shownQuality={shownQuality}
          rewindSeconds={isPreview ? null : rewind.seconds}
          isRewound={rewind.isRewound}
          isTheatre={isTheatre}
          onTheatre={isPreview ? undefined : onTheatre}
          showsFigures={showsFigures}
          onFigures={isPreview ? undefined : setShowsFigures}
          container={place}
        />
      </media-controller>

      {poster !== null && !hasShown && picture === 'there' && (
        <img
          src={poster}
          alt=""
          onError={({ currentTarget }) => {
            // Of a stream that is sound alone, or has just begun, there is none.
            currentTarget.hidden = true
          }}
          fetchPriority="high"
          className="pointer-events-none absolute inset-0 size-full object-contain"
        />
      )}
      <canvas
        ref={still}
        aria-hidden
        className={classes(
          'pointer-events-none absolute inset-0 size-full object-contain',
          (!isGone || !hasShown) && 'hidden',
        )}
      />
      {showsFigures && source !== null && (
        <Figures source={source} remark={remark} onClose={() => setShowsFigures(false)} />
      )}
      {picture !== 'there' && !isGone && <WithoutPicture picture={picture} isPlaying={hasShown} />}
      <Overlay
        state={picture === 'unplayable' && state === 'loading' ? 'playing' : state}
        hasShown={hasShown}
        isPaused={isPaused}
        waitsSeconds={waitsSeconds}
        onPlay={() => void source?.play()}
      />
      {isSilenced && hasShown && !isGone && !isPreview && !showsFigures && (
        <button
          type="button"
          onClick={() => setMuted(false)}
          className="absolute top-3 left-3 inline-flex h-11 animate-rise items-center gap-2 rounded-sm bg-on-picture px-4 text-sm font-semibold text-picture sm:top-4 sm:left-4"
        >
          <VolumeOff aria-hidden className="size-5" />
          <Trans>Unmute</Trans>
        </button>
      )}
    </div>
  )
}

/** Whether there is no picture to be had for now. */
function isAway(state: SourceState): boolean {
  return state === 'reconnecting' || state === 'waiting' || state === 'ended' || state === 'denied'
}

function freeze(video: HTMLVideoElement, canvas: HTMLCanvasElement | null): void {
  if (canvas === null || video.readyState < 2 || video.videoWidth === 0) return
  canvas.width = video.videoWidth
  canvas.height = video.videoHeight
  canvas.getContext('2d')?.drawImage(video, 0, 0)
}

/** Says why there is nothing to be seen. */
function WithoutPicture({ picture, isPlaying }: { picture: 'none' | 'unplayable'; isPlaying: boolean }) {
  if (picture === 'none') {
    return (
      <div
        role="status"
        className="pointer-events-none absolute inset-0 flex flex-col items-center justify-center gap-3 p-4 text-center"
      >
        <AudioLines aria-hidden className="size-12 text-on-picture-soft" />
        <p className="text-base font-semibold sm:text-lg">
          <Trans>This stream is sound only</Trans>
        </p>
      </div>
    )
  }
  return (
    <div
      role="alert"
      className="pointer-events-none absolute inset-0 flex flex-col items-center justify-end gap-1 p-4 text-center sm:justify-center"
    >
      <MonitorX aria-hidden className="mb-2 hidden size-12 text-on-picture-soft sm:block" />
      <p className="text-base font-semibold sm:text-lg">
        <Trans>Your browser cannot show this picture</Trans>
      </p>
      <p className="max-w-md text-xs text-on-picture-soft sm:text-sm">
        <Trans>
          It is sent in a format that this browser does not know, and there is no other quality of it. Try
          another browser, Safari for example, or ask the streamer to send H.264.
        </Trans>{' '}
        {isPlaying && <Trans>You hear the sound meanwhile.</Trans>}
      </p>
    </div>
  )
}

function Overlay({
  state,
  hasShown,
  isPaused,
  waitsSeconds,
  onPlay,
}: {
  state: SourceState
  hasShown: boolean
  isPaused: boolean
  waitsSeconds?: number
  onPlay: () => void
}) {
  const { t } = useLingui()
  if (state === 'denied') {
    return (
      <div
        role="alert"
        className="pointer-events-none absolute inset-0 flex flex-col items-center justify-center gap-1 bg-picture-veil p-4 text-center"
      >
        <p className="text-base font-semibold sm:text-lg">
          <Trans>You may not watch this stream</Trans>
        </p>
        <p className="max-w-sm text-sm text-on-picture-soft">
          <Trans>Your access may have run out: reload the page, or ask the channel for a new link.</Trans>
        </p>
      </div>
    )
  }
  if (isAway(state)) {
    return (
      <div
        role="status"
        className="pointer-events-none absolute inset-0 flex flex-col items-center justify-center gap-1 bg-picture-veil p-4 text-center"
      >
        <Spinner className="mb-3 size-8 text-on-picture" />
        <p className="text-base font-semibold sm:text-lg">
          {state === 'ended' ? (
            <Trans>The stream has stopped</Trans>
          ) : state === 'waiting' ? (
            <Trans>Waiting for the streamer to reconnect</Trans>
          ) : (
            <Trans>Reconnecting</Trans>
          )}
        </p>
        <p className="max-w-sm text-sm text-balance text-on-picture-soft">
          {state === 'waiting' && waitsSeconds !== undefined && (
            <>
              <WaitsFor seconds={waitsSeconds} />{' '}
            </>
          )}
          <Trans>The picture comes back by itself.</Trans>
        </p>
      </div>
    )
  }
  if (state === 'loading' || state === 'buffering') {
    return (
      <div
        role="status"
        aria-label={t`Loading the picture`}
        className="pointer-events-none absolute inset-0 flex items-center justify-center"
      >
        <Spinner className="size-10 animate-turn text-on-picture" />
      </div>
    )
  }
  if (isPaused && hasShown) {
    return (
      <button
        type="button"
        onClick={onPlay}
        aria-label={t`Play`}
        className="absolute top-1/2 left-1/2 flex size-18 -translate-1/2 items-center justify-center rounded-full bg-picture-veil"
      >
        <Play aria-hidden className="ml-1 size-8 fill-current" />
      </button>
    )
  }
  return null
}
