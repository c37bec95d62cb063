import type { components } from './schema'

type ProblemDocument = components['schemas']['Problem']
export type FieldError = components['schemas']['FieldError']

/** A refusal or fault of the server, as its problem document tells it. */
export class ProblemError extends Error implements ProblemDocument {
  override name = 'ProblemError'
  readonly type: string
  readonly title: string
  readonly status: number
  readonly code: string
  readonly detail?: string
  readonly errors?: FieldError[]
  readonly suspension?: components['schemas']['SuspensionNotice']
  readonly request_id?: string

  constructor(document: ProblemDocument) {
    super(document.detail ?? document.title)
    this.type = document.type
    this.title = document.title
    this.status = document.status
    this.code = document.code
    if (document.detail !== undefined) this.detail = document.detail
    if (document.errors !== undefined) this.errors = document.errors
    if (document.suspension !== undefined) this.suspension = document.suspension
    if (document.request_id !== undefined) this.request_id = document.request_id
  }
}

/** The server could not be reached, or something in front of it answered in its place. */
export class UnreachableError extends ProblemError {
  override name = 'UnreachableError'
  constructor(status = 0) {
    super({ type: 'about:blank', title: 'Weir does not answer', status, code: 'unreachable' })
  }
}

/** Reads a failed answer; anything that is no problem document becomes one. */
export async function problemOf(response: Response): Promise<ProblemError> {
  const isProblem = response.headers.get('content-type')?.includes('application/problem+json') ?? false
  if (isProblem) {
    try {
      return new ProblemError((await response.json()) as ProblemDocument)
    } catch {
      // A body cut short says as little as none.
    }
  }
  if (response.status >= 502 && response.status <= 504) return new UnreachableError(response.status)
  return new ProblemError({
    type: 'about:blank',
    title: response.statusText || `HTTP ${response.status}`,
    status: response.status,
    code: 'unexpected_answer',
  })
}
