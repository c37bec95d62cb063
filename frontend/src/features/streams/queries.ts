import { infiniteQueryOptions } from '@tanstack/react-query'
import { client, type Schemas } from '@/api/client'

export type Stream = Schemas['Stream']
type StreamPage = Schemas['StreamPage']

const pageSize = 24

/** Streams that are live now, newest first, page by page. */
export function liveStreamsQuery() {
  return infiniteQueryOptions({
    queryKey: ['streams', 'live'],
    queryFn: async ({ pageParam, signal }): Promise<StreamPage> => {
      const query = { live: true, limit: pageSize, ...(pageParam === null ? {} : { after: pageParam }) }
      const { data } = await client.GET('/api/v1/streams', { params: { query }, signal })
      // The client throws for every refusal, so an answer without data cannot be.
      return data ?? { items: [], next_cursor: null }
    },
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor,
  })
}
