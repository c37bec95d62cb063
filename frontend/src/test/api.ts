import { http, HttpResponse, type JsonBodyType } from 'msw'
import { setupServer } from 'msw/node'
import type { Schemas } from '@/api/client'
import { problem, profile } from './fixtures'

const base = 'http://weir.test/api/v1'
type Method = 'get' | 'post' | 'patch' | 'put' | 'delete'

export const server = setupServer(
  http.get('http://weir.test/healthz', () => new HttpResponse(null, { status: 503 })),
  http.get(`${base}/me`, () => HttpResponse.json(profile)),
  http.get(`${base}/streams`, () => HttpResponse.json({ items: [], next_cursor: null })),
  http.get(`${base}/channels`, () => HttpResponse.json({ items: [], next_cursor: null })),
  http.get(`${base}/me/reports`, () => HttpResponse.json({ items: [], next_cursor: null })),
  http.get(`${base}/registration`, () => HttpResponse.json({ mode: 'open' })),
  http.get(`${base}/channels/:handle/team`, () => HttpResponse.json({ items: [] })),
  http.get(`${base}/channels/:handle/invites`, () => HttpResponse.json({ items: [] })),
  http.get(`${base}/channels/:handle/recordings`, () => HttpResponse.json({ items: [], next_cursor: null })),
  http.get(`${base}/channels/:handle/recording-settings`, () =>
    HttpResponse.json({
      is_on: false,
      own_limits: { keep_days: null, max_size_bytes: null, max_count: null },
      server_limits: { keep_days: 90, max_size_bytes: 100_000_000_000, max_count: 500 },
      usage: { count: 0, size_bytes: 0 },
    }),
  ),
)

/** Lets the API answer a call with this. */
export function answer(method: Method, path: string, body: JsonBodyType, status = 200): void {
  server.use(http[method](`${base}/${path}`, () => HttpResponse.json(body, { status })))
}

/** Lets the API decide from the request. */
export function answerBy(
  method: Method,
  path: string,
  decide: (request: Request) => Response | Promise<Response>,
): void {
  server.use(http[method](`${base}/${path}`, ({ request }) => decide(request)))
}

/** Lets the API refuse a call. */
export function refuse(
  method: Method,
  path: string,
  status: number,
  code: string,
  more: Partial<Schemas['Problem']> = {},
): void {
  server.use(http[method](`${base}/${path}`, () => refusal(status, code, more)))
}

export function refusal(status: number, code: string, more: Partial<Schemas['Problem']> = {}): Response {
  return HttpResponse.json(problem(status, code, more), {
    status,
    headers: { 'content-type': 'application/problem+json' },
  })
}

/** A call that never comes back. */
export function keepWaiting(method: Method, path: string): void {
  server.use(http[method](`${base}/${path}`, () => new Promise<never>(() => undefined)))
}

/** A server that cannot be reached. */
export function fall(method: Method, path: string): void {
  server.use(http[method](`${base}/${path}`, () => HttpResponse.error()))
}
