import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query'
import { client, type Schemas } from '@/api/client'

export type Channel = Schemas['Channel']
export type TeamMember = Schemas['TeamMember']
type ChannelPage = Schemas['ChannelPage']

const pageSize = 24

/** Channels, newest first: those that are offline, or one's own and those in which one has a role. */
export function channelsQuery(filter: { live: false } | { mine: true }) {
  return infiniteQueryOptions({
    queryKey: ['channels', filter],
    queryFn: async ({ pageParam, signal }): Promise<ChannelPage> => {
      const query = { ...filter, limit: pageSize, ...(pageParam === null ? {} : { after: pageParam }) }
      const { data } = await client.GET('/api/v1/channels', { params: { query }, signal })
      return data ?? { items: [], next_cursor: null }
    },
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor,
  })
}

export function channelQuery(handle: string) {
  const params = { path: { handle: handle.toLowerCase() } }
  return queryOptions({
    queryKey: ['channel', params.path.handle],
    queryFn: async ({ signal }): Promise<Channel> => {
      const { data } = await client.GET('/api/v1/channels/{handle}', { params, signal })
      // How it was is only answered to who asks for that, with `as_of`.
      return data as Channel
    },
  })
}

/** Who has a role in a channel, by username. */
export function teamQuery(handle: string) {
  const path = { handle: handle.toLowerCase() }
  return queryOptions({
    queryKey: ['team', path.handle],
    queryFn: async ({ signal }): Promise<TeamMember[]> => {
      const { data } = await client.GET('/api/v1/channels/{handle}/team', { params: { path }, signal })
      return data?.items ?? []
    },
  })
}
