import type { DetailedHTMLProps, HTMLAttributes } from 'react'

type Html<Extra = object> = DetailedHTMLProps<HTMLAttributes<HTMLElement>, HTMLElement> & Extra

declare module 'react' {
  namespace JSX {
    interface IntrinsicElements {
      'media-time-range': Html<{ class?: string }>
      'media-time-display': Html<{ showduration?: boolean }>
    }
  }
}
