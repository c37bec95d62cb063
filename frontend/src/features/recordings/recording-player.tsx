import 'media-chrome/dist/media-controller.js'
import 'media-chrome/dist/media-time-display.js'
import 'media-chrome/dist/media-time-range.js'
import Hls, { Events } from 'hls.js/light'
import { Trans, useLingui } from '@lingui/react/macro'
import { Gauge } from 'lucide-react'
import { useEffect, useId, useRef, useState } from 'react'
import {
  FullscreenButton,
  PictureInPictureButton,
  PlayAndSound,
  useElementWords,
} from '@/features/streams/player/buttons'
import { toggleFullscreen, togglePictureInPicture, useKeptMute } from '@/features/streams/player/element'
import { usePlayerKeys } from '@/features/streams/player/hotkeys'
import { keepVolume, readVolume } from '@/features/streams/player/volume'
import { Button } from '@/ui/button'
import { Menu, MenuChoice, MenuContent, MenuTrigger } from '@/ui/menu'
import './recording-player.css'

const speeds = ['0.5', '0.75', '1', '1.25', '1.5', '2'] as const

/** Plays a recording: it can be paused, and any moment of it be gone to. */
export function RecordingPlayer({
  src,
  poster,
  sheet,
  label,
  startsAt,
  onTime,
  onRefused,
}: {
  src: string
  poster: string | null
  /** Small pictures for the seek bar, as WebVTT. */
  sheet: string | null
  label: string
  /** Where to begin, in seconds. */
  startsAt: number
  /** Told of the moment that is shown, every few seconds. */
  onTime?: (seconds: number, duration: number) => void
  /** Told of an address that is refused; gives another as `src`, where there is one, and says whether. */
  onRefused?: (src: string) => Promise<boolean>
}) {
  const { t, i18n } = useLingui()
  const id = useId()
  const frame = useRef<HTMLDivElement>(null)
  const video = useRef<HTMLVideoElement>(null)
  const [place, setPlace] = useState<HTMLDivElement | null>(null)
  const [hasFailed, setFailed] = useState(false)
  const [attempt, setAttempt] = useState(0)
  const [speed, setSpeed] = useState<string>('1')
  const begin = useRef(startsAt)
  useElementWords()

  useEffect(() => {
    const element = video.current
    if (element === null) return
    const kept = readVolume()
    if (kept !== null) {
      element.volume = kept.level
      element.muted = kept.isMuted
    }
    setFailed(false)
    if (!Hls.isSupported()) {
      element.src = src
      const fail = () => setFailed(true)
      element.addEventListener('error', fail)
      element.currentTime = begin.current
      return () => {
        element.removeEventListener('error', fail)
        element.removeAttribute('src')
        element.load()
      }
    }
    const hls = new Hls({
      startPosition: begin.current,
      // As for what is live: see hls-config.ts.
      enableWorker: false,
      maxBufferLength: 40,
      backBufferLength: 60,
    })
    let mends = 0
    hls.on(Events.ERROR, (_, error) => {
      if (!error.fatal) return
      begin.current = element.currentTime
      if (error.type === Hls.ErrorTypes.MEDIA_ERROR && mends < 3) {
        mends += 1
        hls.recoverMediaError()
      } else if (error.response?.code === 403 && onRefused !== undefined) {
        onRefused(src).then(
          (isRenewed) => setFailed(!isRenewed),
          () => setFailed(true),
        )
      } else {
        setFailed(true)
      }
    })
    hls.loadSource(src)
    hls.attachMedia(element)
    // Where the browser does not let it, the button is there.
    element.play().catch(() => undefined)
    return () => {
      begin.current = element.currentTime
      hls.destroy()
    }
  }, [src, attempt, onRefused])

  useEffect(() => {
    if (onTime === undefined) return
    const timer = setInterval(() => {
      const element = video.current
      if (element !== null && element.duration > 0) onTime(element.currentTime, element.duration)
    }, 3000)
    return () => clearInterval(timer)
  }, [onTime])

  useKeptMute(frame, video, true)

  usePlayerKeys(
    frame,
    {
      togglePlay: () => {
        if (video.current?.paused === true) void video.current.play()
        else video.current?.pause()
      },
      toggleMute: () => {
        const element = video.current
        if (element === null) return
        element.muted = !element.muted
        keepVolume({ level: element.volume, isMuted: element.muted })
      },
      toggleFullscreen: () => toggleFullscreen(frame.current),
      togglePictureInPicture: () => togglePictureInPicture(video.current),
      toggleTheatre: () => undefined,
      toggleFigures: () => undefined,
      seekBy: (seconds) => {
        const element = video.current
        if (element !== null) element.currentTime = Math.max(0, element.currentTime + seconds)
      },
      changeVolume: (by) => {
        const element = video.current
        if (element === null) return
        element.volume = Math.min(1, Math.max(0, element.volume + by))
        element.muted = element.volume === 0
        keepVolume({ level: element.volume, isMuted: element.muted })
      },
    },
    true,
  )

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
      <media-controller nohotkeys novolumepref nomutedpref nosubtitleslangpref fullscreenelement={id}>
        {/* eslint-disable-next-line jsx-a11y/media-has-caption -- captions of a stream travel inside it */}
        <video
          ref={video}
          slot="media"
          data-testid="player-video"
          playsInline
          tabIndex={-1}
          poster={poster ?? undefined}
          aria-label={label}
        >
          {sheet !== null && <track default kind="metadata" label="thumbnails" src={sheet} />}
        </video>
        <div className="w-full bg-linear-to-t from-picture/90 to-transparent px-2 pt-10 pb-1.5 sm:px-3 sm:pb-2">
          <media-time-range key={i18n.locale} class="recording-seek" />
          <div className="flex items-center gap-0.5">
            <PlayAndSound />
            <media-time-display showduration />
            <div className="grow" />
            <Menu>
              <MenuTrigger asChild>
                <button type="button" aria-label={t`Speed`} title={t`Speed`} className="player-button">
                  <Gauge aria-hidden />
                </button>
              </MenuTrigger>
              <MenuContent container={place} side="top">
                <MenuChoice
                  label={t`Speed`}
                  value={speed}
                  onChoose={(value) => {
                    setSpeed(value)
                    if (video.current !== null) video.current.playbackRate = Number(value)
                  }}
                  choices={speeds.map((value) => ({
                    value,
                    text: value === '1' ? t`Normal` : `${Number(value).toLocaleString(i18n.locale)}×`,
                  }))}
                />
              </MenuContent>
            </Menu>
            <PictureInPictureButton />
            <FullscreenButton />
          </div>
        </div>
      </media-controller>
      {hasFailed && (
        <div
          role="alert"
          className="absolute inset-0 flex flex-col items-center justify-center gap-4 bg-picture-veil p-4 text-center"
        >
          <p className="max-w-sm text-sm">
            <Trans>The video cannot be played at the moment. Check your connection and try again.</Trans>
          </p>
          <Button onClick={() => setAttempt((before) => before + 1)}>
            <Trans>Try again</Trans>
          </Button>
        </div>
      )}
    </div>
  )
}
