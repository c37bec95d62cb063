import { QueryClient } from '@tanstack/react-query'
import { ProblemError, UnreachableError } from '@/api/problem'

/** Refusals are answers and are not asked again; faults and silence are, twice. */
function isWorthAnother(failures: number, error: unknown): boolean {
  if (error instanceof ProblemError && !(error instanceof UnreachableError) && error.status < 500)
    return false
  return failures < 2
}

export function createWeirQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        // A self-hosted server may well be there when the internet is not.
        networkMode: 'always',
        staleTime: 5000,
        retry: isWorthAnother,
        retryDelay: (attempt) => Math.min(800 * 2 ** attempt, 4000),
      },
      mutations: { networkMode: 'always', retry: false },
    },
  })
}
