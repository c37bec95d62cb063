import { infiniteQueryOptions } from '@tanstack/react-query'
import { client, type Schemas } from '@/api/client'

export type AdministeredAccount = Schemas['AdministeredAccount']
export type AccountState = 'active' | 'suspended'

const pageSize = 50
export const accountsKey = ['administration', 'accounts']

/** The accounts of this install, newest first. */
export function accountsQuery(search: string, state: AccountState | null) {
  return infiniteQueryOptions({
    queryKey: [...accountsKey, search, state],
    queryFn: async ({ pageParam, signal }): Promise<Schemas['AdministeredAccountPage']> => {
      const query = {
        limit: pageSize,
        ...(search === '' ? {} : { search }),
        ...(state === null ? {} : { state }),
        ...(pageParam === null ? {} : { after: pageParam }),
      }
      const { data } = await client.GET('/api/v1/admin/accounts', { params: { query }, signal })
      // The client throws for every refusal, so an answer without data cannot be.
      return data ?? { items: [], next_cursor: null }
    },
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor,
  })
}
