import { api, type Schemas } from '@/api/client'

export type IngestStatus = Schemas['IngestStatus']

const refreshMs = 1000

/** What the encoder of a channel is doing, asked again and again while the page is in sight. */
export function useIngest(handle: string) {
  return api.useQuery(
    'get',
    '/api/v1/channels/{handle}/ingest',
    { params: { path: { handle } } },
    { refetchInterval: refreshMs, staleTime: 0 },
  )
}
