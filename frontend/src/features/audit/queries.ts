import { infiniteQueryOptions } from '@tanstack/react-query'
import { client, type Schemas } from '@/api/client'

export type SecurityEvent = Schemas['SecurityEvent']
type SecurityEventPage = Schemas['SecurityEventPage']

const none: SecurityEventPage = { items: [], next_cursor: null }

/** What happened to the safety of one's own account, newest first. */
export function ownSecurityEventsQuery() {
  return infiniteQueryOptions({
    queryKey: ['security-events', 'own'],
    queryFn: async ({ pageParam, signal }): Promise<SecurityEventPage> => {
      const query = { limit: 20, ...(pageParam === null ? {} : { after: pageParam }) }
      const { data } = await client.GET('/api/v1/me/security-events', { params: { query }, signal })
      return data ?? none
    },
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor,
  })
}

export interface AuditFilter {
  account: string
  kind: string
  /** Days of the calendar, as a date field gives them; empty for none. */
  from: string
  to: string
}

export const everything: AuditFilter = { account: '', kind: '', from: '', to: '' }

/** What happened to the safety of all accounts, for administrators. */
export function securityEventsQuery({ account, kind, from, to }: AuditFilter) {
  return infiniteQueryOptions({
    queryKey: ['security-events', 'all', account, kind, from, to],
    queryFn: async ({ pageParam, signal }): Promise<SecurityEventPage> => {
      const query = {
        limit: 50,
        ...(account === '' ? {} : { account }),
        ...(kind === '' ? {} : { kind }),
        ...(from === '' ? {} : { from: startOf(from, 0) }),
        ...(to === '' ? {} : { to: startOf(to, 1) }),
        ...(pageParam === null ? {} : { after: pageParam }),
      }
      const { data } = await client.GET('/api/v1/admin/security-events', { params: { query }, signal })
      return data ?? none
    },
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor,
  })
}

/** The beginning of a day, or of one after it, where the reader is. */
function startOf(day: string, daysAfter: number): string {
  const at = new Date(`${day}T00:00:00`)
  at.setDate(at.getDate() + daysAfter)
  return at.toISOString()
}
