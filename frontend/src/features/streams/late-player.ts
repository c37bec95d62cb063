import { late } from '@/ui/late'

/** The player of what is live: the largest piece of code, and only pages with a picture need it. */
export const LatePlayer = late(() => import('./player/player').then(({ Player }) => Player))
