import type { DetailedHTMLProps, HTMLAttributes } from 'react'

type Html<Extra = object> = DetailedHTMLProps<HTMLAttributes<HTMLElement>, HTMLElement> & Extra

declare module 'react' {
  namespace JSX {
    interface IntrinsicElements {
      'media-controller': Html<{
        nohotkeys?: boolean
        novolumepref?: boolean
        nomutedpref?: boolean
        nosubtitleslangpref?: boolean
        noautoseektolive?: boolean
        defaultstreamtype?: string
        fullscreenelement?: string
        autohide?: string
      }>
      'media-play-button': Html<{ notooltip?: boolean }>
      'media-mute-button': Html<{ notooltip?: boolean }>
      'media-volume-range': Html
      'media-pip-button': Html<{ notooltip?: boolean }>
      'media-fullscreen-button': Html<{ notooltip?: boolean }>
    }
  }
}
