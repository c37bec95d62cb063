import { queryOptions } from '@tanstack/react-query'
import { client, type Schemas } from '@/api/client'

export type Invite = Schemas['Invite']
export type InvitedChannel = Schemas['InvitedChannel']

/** The invites of a channel that are good, newest first, for its owner. */
export function invitesQuery(handle: string) {
  const path = { handle: handle.toLowerCase() }
  return queryOptions({
    queryKey: ['invites', path.handle],
    queryFn: async ({ signal }): Promise<Invite[]> => {
      const { data } = await client.GET('/api/v1/channels/{handle}/invites', { params: { path }, signal })
      return data?.items ?? []
    },
  })
}

/** What the bearer of an invite may watch. */
export function invitedQuery(invite: string) {
  return queryOptions({
    queryKey: ['invited', invite],
    queryFn: async ({ signal }): Promise<InvitedChannel> => {
      const { data } = await client.POST('/api/v1/invites/use', { body: { invite }, signal })
      return data as InvitedChannel
    },
  })
}
