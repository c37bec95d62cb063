import 'media-chrome/dist/media-fullscreen-button.js'
import 'media-chrome/dist/media-mute-button.js'
import 'media-chrome/dist/media-pip-button.js'
import 'media-chrome/dist/media-play-button.js'
import 'media-chrome/dist/media-volume-range.js'
import { useLingui } from '@lingui/react/macro'
import { Maximize, Minimize, Pause, PictureInPicture2, Play, Volume1, Volume2, VolumeX } from 'lucide-react'
import { addTranslation, setLanguage } from 'media-chrome/dist/utils/i18n.js'

/** Media Chrome names its parts in a language of its own choosing; here it learns ours. */
export function useElementWords(): void {
  const { t, i18n } = useLingui()
  addTranslation(i18n.locale, {
    play: t`Play`,
    pause: t`Pause`,
    mute: t`Mute`,
    unmute: t`Unmute`,
    volume: t`Volume`,
    seek: t`Go to a moment`,
    'enter fullscreen mode': t`Full screen`,
    'exit fullscreen mode': t`Leave full screen`,
    'enter picture in picture mode': t`Picture in picture`,
    'exit picture in picture mode': t`Leave picture in picture`,
    'video player': t`Player`,
  })
  setLanguage(i18n.locale)
}

/** Play or pause, and the sound: the left end of every player's controls. */
export function PlayAndSound() {
  const { t } = useLingui()
  return (
    <>
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
    </>
  )
}

export function PictureInPictureButton() {
  const { t } = useLingui()
  return (
    <media-pip-button notooltip title={t`Picture in picture (I)`}>
      <PictureInPicture2 slot="enter" />
      <PictureInPicture2 slot="exit" />
    </media-pip-button>
  )
}

export function FullscreenButton() {
  const { t } = useLingui()
  return (
    <media-fullscreen-button notooltip title={t`Full screen (F)`}>
      <Maximize slot="enter" />
      <Minimize slot="exit" />
    </media-fullscreen-button>
  )
}
