import createClient from 'openapi-fetch'
import createQueryClient from 'openapi-react-query'
import { awaitResult } from './accepted'
import { connection } from './connection'
import { problemOf, UnreachableError } from './problem'
import type { components, paths } from './schema'

export type Schemas = components['schemas']

/** What the client needs from the session; the accounts feature provides it. */
export interface Credentials {
  accessToken: () => string | null
  /** Tries to get a new access token; `false` when the session has ended. */
  renew: () => Promise<boolean>
}

let credentials: Credentials = { accessToken: () => null, renew: () => Promise.resolve(false) }

export function provideCredentials(provider: Credentials): void {
  credentials = provider
}

// Sign-in and its kin ride on the cookie or a password; a token there would only confuse a 401.
const withoutToken = /\/api\/v1\/auth\/(login|register|refresh|logout|password\/reset)$/

async function send(request: Request): Promise<Response> {
  try {
    const response = await fetch(request)
    connection.answered()
    return response
  } catch (cause) {
    if (request.signal.aborted) throw cause
    connection.failed()
    throw new UnreachableError()
  }
}

function withToken(request: Request): Promise<Response> {
  const token = credentials.accessToken()
  if (token !== null) request.headers.set('authorization', `Bearer ${token}`)
  return send(request)
}

async function fetchWithSession(request: Request): Promise<Response> {
  const carriesToken = !withoutToken.test(new URL(request.url).pathname)
  const token = carriesToken ? credentials.accessToken() : null
  const again = token === null ? null : request.clone()
  if (token !== null) request.headers.set('authorization', `Bearer ${token}`)

  let response = await send(request)
  if (response.status === 401 && again !== null) {
    // Unless another call came back sooner, and it was renewed meanwhile.
    if (credentials.accessToken() === token) await credentials.renew()
    const renewed = credentials.accessToken()
    // Without a session what is public can still be read.
    if (renewed !== null) again.headers.set('authorization', `Bearer ${renewed}`)
    if (renewed !== null || again.method === 'GET') response = await send(again)
  }
  if (response.status === 202) {
    const command = { url: request.url, ifMatch: request.headers.get('if-match') }
    return awaitResult(command, response, (read) => withToken(read))
  }
  if (!response.ok) {
    const problem = await problemOf(response)
    if (problem instanceof UnreachableError) connection.failed()
    throw problem
  }
  return response
}

/** The generated client: the one way to the API. It throws {@link ProblemError} for every refusal. */
export const client = createClient<paths>({
  baseUrl: globalThis.location.origin,
  fetch: fetchWithSession,
  credentials: 'same-origin',
})

/** The same client as TanStack Query hooks. */
export const api = createQueryClient(client)
