import { infiniteQueryOptions } from '@tanstack/react-query'
import { api, client, type Schemas } from '@/api/client'

export type Channel = Schemas['Channel']
type ChannelPage = Schemas['ChannelPage']

const pageSize = 24

/** Channels, newest first: those that are offline, or one's own. */
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
  return api.queryOptions('get', '/api/v1/channels/{handle}', {
    params: { path: { handle: handle.toLowerCase() } },
  })
}
