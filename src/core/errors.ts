import { withAdvice } from './advice.ts'

/**
 * The one error type of the project. A message says what failed, why and what
 * to do; `status` is the HTTP status that the API door answers with.
 */
export class BerthError extends Error {
  /** Stable machine-readable name, e.g. `container-not-found`. */
  readonly code: string
  /** HTTP status, as Docker answers for the same condition. */
  readonly status: number

  constructor(code: string, status: number, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'BerthError'
    this.code = code
    this.status = status
  }
}

export const badRequest = (message: string, cause?: unknown): BerthError =>
  new BerthError('bad-request', 400, message, { cause })

export const notFound = (message: string): BerthError => new BerthError('not-found', 404, message)

export const forbidden = (message: string): BerthError => new BerthError('forbidden', 403, message)

export const conflict = (message: string): BerthError => new BerthError('conflict', 409, message)

export const internal = (message: string, cause?: unknown): BerthError =>
  new BerthError('internal', 500, message, { cause })

export const unavailable = (message: string): BerthError => new BerthError('unavailable', 503, message)

export const notImplemented = (what: string): BerthError =>
  new BerthError('not-implemented', 501, `${what} is not implemented by this version of Berth`)

/** The first of an error and its causes that is of this kind. */
export const causeOf = <T extends Error>(
  error: unknown,
  kind: abstract new (...parameters: never[]) => T,
): T | undefined => {
  for (let cause = error; cause instanceof Error; cause = cause.cause) if (cause instanceof kind) return cause
  return undefined
}

/** True for a BerthError with this code. */
export const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code

/** The text of anything that was thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** Whatever was thrown, as a BerthError; unknown causes become a 500 once, here, with what to do about them where that is known. */
export const asBerthError = (error: unknown): BerthError =>
  error instanceof BerthError ? error : internal(withAdvice(messageOf(error), error), error)

/** The same error with what was under way before its text, as Docker tells it. */
export const prefixed = (what: string, thrown: unknown): BerthError => {
  const { code, status, message } = asBerthError(thrown)
  return new BerthError(code, status, `${what}: ${message}`, { cause: thrown })
}

/** Undefined where the work fails with one of these codes. */
export const unlessCode = async <T>(work: Promise<T>, ...codes: string[]): Promise<T | undefined> => {
  try {
    return await work
  } catch (error) {
    if (codes.some(code => hasCode(error, code))) return undefined
    throw error
  }
}
