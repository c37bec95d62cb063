import { queryOptions } from '@tanstack/react-query'
import { client, type Schemas } from '@/api/client'
import { ProblemError } from '@/api/problem'

export type PersonalExport = Schemas['PersonalExport']

export const personalExportKey = ['me', 'export']

export function isUnderWay(status: PersonalExport['status'] | undefined): boolean {
  return status === 'waiting' || status === 'running'
}

/** The copy of one's data that was asked for last; `null` before the first. */
export const personalExportQuery = queryOptions({
  queryKey: personalExportKey,
  queryFn: async ({ signal }): Promise<PersonalExport | null> => {
    try {
      const { data } = await client.GET('/api/v1/me/export', { signal })
      return data ?? null
    } catch (error) {
      if (error instanceof ProblemError && error.code === 'not_found') return null
      throw error
    }
  },
  refetchInterval: (query) => (isUnderWay(query.state.data?.status) ? 1000 : false),
})

/** After how many days an account that asks for it is deleted. */
export const erasureQuery = queryOptions({
  queryKey: ['me', 'erasure'],
  queryFn: async ({ signal }): Promise<Schemas['Erasure'] | null> => {
    const { data } = await client.GET('/api/v1/me/erasure', { signal })
    return data ?? null
  },
})
