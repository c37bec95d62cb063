import { useEffect, type RefObject } from 'react'
import { keepVolume } from './volume'

/** In full screen, or back from it. */
export function toggleFullscreen(frame: HTMLElement | null): void {
  if (document.fullscreenElement !== null) void document.exitFullscreen()
  else void frame?.requestFullscreen()
}

/** In a small picture of its own, or back from it. */
export function togglePictureInPicture(video: HTMLVideoElement | null): void {
  if (document.pictureInPictureElement !== null) void document.exitPictureInPicture()
  else if (document.pictureInPictureEnabled) void video?.requestPictureInPicture()
}

/** Remembers what the mute button is told: its requests tell a wish from what autoplay had to do. */
export function useKeptMute(
  frame: RefObject<HTMLElement | null>,
  video: RefObject<HTMLVideoElement | null>,
  isActive: boolean,
): void {
  useEffect(() => {
    const element = frame.current
    if (element === null || !isActive) return
    const keep = (isMuted: boolean) => () => keepVolume({ level: video.current?.volume ?? 1, isMuted })
    const [mute, unmute] = [keep(true), keep(false)]
    element.addEventListener('mediamuterequest', mute)
    element.addEventListener('mediaunmuterequest', unmute)
    return () => {
      element.removeEventListener('mediamuterequest', mute)
      element.removeEventListener('mediaunmuterequest', unmute)
    }
  }, [frame, video, isActive])
}
