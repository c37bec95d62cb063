import type { Channel } from './queries'

/** What the one who looks is to a channel, and with that what the dashboard offers. docs/roles.md has the table. */
export type Standing = NonNullable<Channel['standing']>

export function mayEdit(standing: Standing): boolean {
  return standing !== 'moderator'
}
