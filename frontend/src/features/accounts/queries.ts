import { queryOptions } from '@tanstack/react-query'
import { client, type Schemas } from '@/api/client'

export type SessionItem = Schemas['Session']
export type PersonalToken = Schemas['PersonalToken']

export const sessionsKey = ['auth', 'sessions']
export const tokensKey = ['auth', 'tokens']

/** Where one is signed in. */
export const sessionsQuery = queryOptions({
  queryKey: sessionsKey,
  queryFn: async ({ signal }): Promise<SessionItem[]> => {
    const { data } = await client.GET('/api/v1/auth/sessions', { signal })
    return data?.items ?? []
  },
})

/** What one lets programs do. */
export const tokensQuery = queryOptions({
  queryKey: tokensKey,
  queryFn: async ({ signal }): Promise<PersonalToken[]> => {
    const { data } = await client.GET('/api/v1/auth/tokens', { signal })
    return data?.items ?? []
  },
})
