import { UnreachableError } from './problem'
import type { components } from './schema'

type Accepted = components['schemas']['Accepted']

const tries = 40
const pauseMs = 500

/**
 * A command whose result cannot be read back yet is answered 202, with where the result will be.
 * This waits for it, so that callers see one answer only.
 */
export async function awaitResult(
  command: { url: string; ifMatch: string | null },
  response: Response,
  get: (request: Request) => Promise<Response>,
): Promise<Response> {
  const { location } = (await response.json()) as Accepted
  // A new account is signed in by the cookie that came with the answer.
  const isRegistration = command.url.endsWith('/auth/register')
  const url = new URL(isRegistration ? '/api/v1/auth/refresh' : location, globalThis.location.origin)
  for (let attempt = 0; attempt < tries; attempt += 1) {
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
    const result = await get(new Request(url, { method: isRegistration ? 'POST' : 'GET', cache: 'no-store' }))
    if (result.ok && (await isNewer(result, command.ifMatch))) return result
  }
  throw new UnreachableError(202)
}

/** After an edit, the old text may still be what is read. */
async function isNewer(result: Response, ifMatch: string | null): Promise<boolean> {
  if (ifMatch === null) return true
  const { version } = (await result.clone().json()) as { version?: number }
  return version === undefined || `"${version}"` !== ifMatch
}

/** The result of a command; the client has waited for it, so that "accepted" alone cannot be left. */
export function settled<Result extends object>(answer: Result | Accepted): Result {
  if ('position' in answer && 'location' in answer) throw new UnreachableError(202)
  return answer
}
