import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query'
import { client, type Schemas } from '@/api/client'

export type Recording = Schemas['Recording']
export type RecordingSettings = Schemas['RecordingSettings']
type RecordingPage = Schemas['RecordingPage']

const pageSize = 24

/** A channel's recordings, newest first: those that everybody finds, and all of them for its owner. */
export function recordingsQuery(handle: string) {
  const path = { handle: handle.toLowerCase() }
  return infiniteQueryOptions({
    queryKey: ['recordings', path.handle],
    queryFn: async ({ pageParam, signal }): Promise<RecordingPage> => {
      const query = { limit: pageSize, ...(pageParam === null ? {} : { after: pageParam }) }
      const { data } = await client.GET('/api/v1/channels/{handle}/recordings', {
        params: { path, query },
        signal,
      })
      // The client throws for every refusal, so an answer without data cannot be.
      return data ?? { items: [], next_cursor: null }
    },
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor,
  })
}

export function recordingQuery(id: string) {
  return queryOptions({
    queryKey: ['recording', id],
    queryFn: async ({ signal }): Promise<Recording> => {
      const { data } = await client.GET('/api/v1/recordings/{id}', { params: { path: { id } }, signal })
      return data as Recording
    },
  })
}

export function recordingSettingsQuery(handle: string) {
  const path = { handle: handle.toLowerCase() }
  return queryOptions({
    queryKey: ['recording-settings', path.handle],
    queryFn: async ({ signal }): Promise<RecordingSettings> => {
      const { data } = await client.GET('/api/v1/channels/{handle}/recording-settings', {
        params: { path },
        signal,
      })
      return data as RecordingSettings
    },
  })
}
