import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query'
import { client, type Schemas } from '@/api/client'

export type Profile = Schemas['Profile']
export type PublicAccount = Schemas['PublicAccount']

const pageSize = 24

/** What one shows of oneself, to be edited. */
export const profileQuery = queryOptions({
  queryKey: ['me'],
  queryFn: async ({ signal }): Promise<Profile> => {
    const { data } = await client.GET('/api/v1/me', { signal })
    // The client throws for every refusal, so an answer without data cannot be.
    return data as Profile
  },
  staleTime: 5 * 60_000,
})

/** An account as everybody sees it. */
export function accountQuery(username: string) {
  const params = { path: { username: username.toLowerCase() } }
  return queryOptions({
    queryKey: ['account', params.path.username],
    queryFn: async ({ signal }): Promise<PublicAccount> => {
      const { data } = await client.GET('/api/v1/accounts/{username}', { params, signal })
      return data as PublicAccount
    },
  })
}

/** Its public channels, newest first. */
export function accountChannelsQuery(username: string) {
  const path = { username: username.toLowerCase() }
  return infiniteQueryOptions({
    queryKey: ['account', path.username, 'channels'],
    queryFn: async ({ pageParam, signal }): Promise<Schemas['ChannelPage']> => {
      const query = { limit: pageSize, ...(pageParam === null ? {} : { after: pageParam }) }
      const params = { path, query }
      const { data } = await client.GET('/api/v1/accounts/{username}/channels', { params, signal })
      return data ?? { items: [], next_cursor: null }
    },
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor,
  })
}

/** The streams of its public channels, running and past, newest first. */
export function accountStreamsQuery(username: string) {
  const path = { username: username.toLowerCase() }
  return infiniteQueryOptions({
    queryKey: ['account', path.username, 'streams'],
    queryFn: async ({ pageParam, signal }): Promise<Schemas['StreamPage']> => {
      const query = { limit: pageSize, ...(pageParam === null ? {} : { after: pageParam }) }
      const params = { path, query }
      const { data } = await client.GET('/api/v1/accounts/{username}/streams', { params, signal })
      return data ?? { items: [], next_cursor: null }
    },
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor,
  })
}

/** What a person is called where they are read of. */
export function nameOf(account: { username: string; display_name: string | null }): string {
  return account.display_name ?? account.username
}
