import type { QueryClient } from '@tanstack/react-query'

/** What routes get from the application. */
export interface RouterContext {
  queryClient: QueryClient
}
