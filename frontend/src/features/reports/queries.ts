import { infiniteQueryOptions } from '@tanstack/react-query'
import { client, type Schemas } from '@/api/client'

export type Report = Schemas['Report']
export type QueuedReport = Schemas['QueuedReport']
export type ReportState = Schemas['ReportState']

const pageSize = 20
export const ownReportsKey = ['reports', 'own']
export const queueKey = ['reports', 'queue']

/** What one has reported oneself, newest first. */
export function ownReportsQuery() {
  return infiniteQueryOptions({
    queryKey: ownReportsKey,
    queryFn: async ({ pageParam, signal }): Promise<Schemas['ReportPage']> => {
      const query = { limit: pageSize, ...(pageParam === null ? {} : { after: pageParam }) }
      const { data } = await client.GET('/api/v1/me/reports', { params: { query }, signal })
      // The client throws for every refusal, so an answer without data cannot be.
      return data ?? { items: [], next_cursor: null }
    },
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor,
  })
}

/** What administrators are to read, newest first. */
export function queueQuery(state: ReportState | null) {
  return infiniteQueryOptions({
    queryKey: [...queueKey, state],
    queryFn: async ({ pageParam, signal }): Promise<Schemas['QueuedReportPage']> => {
      const query = {
        limit: pageSize,
        ...(state === null ? {} : { state }),
        ...(pageParam === null ? {} : { after: pageParam }),
      }
      const { data } = await client.GET('/api/v1/admin/reports', { params: { query }, signal })
      return data ?? { items: [], next_cursor: null }
    },
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor,
  })
}
