import { BerthError } from '../core/errors.ts'
import { familiarName } from '../oci/reference.ts'
import type { Challenge } from './challenge.ts'

/** What goes wrong at a registry, as errors in Docker's words. No address in them shows a query, which may hold a signature. */

/** How the next step after an error is decided: it is the cause of each error of this folder. */
export interface Trouble {
  /** The same may succeed later. */
  transient: boolean
  /** A host answered by HTTP: it is alive, and its TLS is right. */
  spoke: boolean
  /** Milliseconds that the host wants to be left alone. */
  after?: number
}

const unknownTrouble: Trouble = { transient: false, spoke: false }

export const troubleOf = (error: unknown): Trouble => {
  const cause = error instanceof BerthError ? error.cause : undefined
  return typeof cause === 'object' && cause !== null && 'transient' in cause
    ? (cause as Trouble)
    : unknownTrouble
}

export const failure = (code: string, status: number, message: string, trouble: Trouble): BerthError =>
  new BerthError(code, status, message, { cause: trouble })

/** An address for people: without user, query and fragment. */
export const shownUrl = (url: URL): string => `${url.protocol}//${url.host}${url.pathname}`

/** One error of a registry's answer. */
export interface RegistryError {
  /** `MANIFEST_UNKNOWN` */
  code: string
  message: string
}

/** Codes that Docker knows, with what it says where a registry says nothing; all others are `UNKNOWN`. */
const knownCodes: Record<string, string> = {
  UNKNOWN: 'unknown error',
  UNSUPPORTED: 'The operation is unsupported.',
  UNAUTHORIZED: 'authentication required',
  DENIED: 'requested access to the resource is denied',
  UNAVAILABLE: 'service unavailable',
  TOOMANYREQUESTS: 'too many requests',
  DIGEST_INVALID: 'provided digest did not match uploaded content',
  SIZE_INVALID: 'provided length did not match content length',
  NAME_INVALID: 'invalid repository name',
  TAG_INVALID: 'manifest tag did not match URI',
  NAME_UNKNOWN: 'repository name not known to registry',
  MANIFEST_UNKNOWN: 'manifest unknown',
  MANIFEST_INVALID: 'manifest invalid',
  MANIFEST_UNVERIFIED: 'manifest failed signature verification',
  MANIFEST_BLOB_UNKNOWN: 'blob unknown to registry',
  BLOB_UNKNOWN: 'blob unknown to registry',
  BLOB_UPLOAD_UNKNOWN: 'blob upload unknown to registry',
  BLOB_UPLOAD_INVALID: 'blob upload invalid',
}

const asError = (code: unknown, message: unknown): RegistryError => {
  const known = typeof code === 'string' && Object.hasOwn(knownCodes, code) ? code : 'UNKNOWN'
  const said =
    typeof message === 'string' && message !== '' ? message.slice(0, 1000) : (knownCodes[known] ?? '')
  return { code: known, message: said }
}

const byStatus = (status: number): string =>
  status === 401 ? 'UNAUTHORIZED' : status === 403 ? 'DENIED' : status === 429 ? 'TOOMANYREQUESTS' : 'UNKNOWN'

const bodyErrors = (status: number, text: string): RegistryError[] => {
  try {
    const body = JSON.parse(text) as { errors?: unknown; details?: unknown }
    if (typeof body.details === 'string' && body.details !== '')
      return [asError(byStatus(status), body.details)]
    if (Array.isArray(body.errors))
      return body.errors.flatMap(entry =>
        typeof entry === 'object' && entry !== null ? [asError(entry.code, entry.message)] : [],
      )
  } catch {
    // A page of a proxy, or plain words: the status says more.
  }
  return []
}

/** The errors of an answer: first what its challenge says, then its body; never none. */
export const registryErrors = (
  status: number,
  challenges: readonly Challenge[],
  text: string,
): RegistryError[] => {
  const said = challenges.flatMap(({ scheme, parameters }) => {
    const codes: Record<string, string> = { invalid_token: 'UNAUTHORIZED', insufficient_scope: 'DENIED' }
    const code = codes[parameters['error'] ?? '']
    return scheme === 'bearer' && code ? [asError(code, parameters['error_description'])] : []
  })
  const body = bodyErrors(status, text)
  if (said.length + body.length > 0) return [...said, ...body]
  const plain = text.trim()
  return [asError(byStatus(status), /^[^<{]{1,200}$/.test(plain) ? plain : '')]
}

/** `manifest unknown: manifest unknown`, as Docker writes a code and its message. */
export const wordsOf = ({ code, message }: RegistryError): string =>
  `${code.toLowerCase().replaceAll('_', ' ')}: ${message}`

/** What was asked for, for the words of a refusal. */
export interface Subject {
  registry: string
  path: string
  action: 'pull' | 'push'
  /** The tag or digest of the manifest that was asked for. */
  manifest?: string
  /** The digest of the blob that was. */
  blob?: string
}

const nameOf = ({ registry, path }: Subject): string => familiarName({ domain: registry, path })

const manifestName = (subject: Subject): string =>
  subject.manifest === undefined
    ? nameOf(subject)
    : `${nameOf(subject)}${subject.manifest.includes(':') ? '@' : ':'}${subject.manifest}`

const missing = (subject: Subject, error: RegistryError, trouble: Trouble): BerthError => {
  const words = wordsOf(error)
  if (error.code === 'NAME_UNKNOWN')
    return failure('name-unknown', 404, `repository ${nameOf(subject)} not found: ${words}`, trouble)
  if (error.code === 'MANIFEST_UNKNOWN')
    return failure(
      'manifest-unknown',
      404,
      `manifest for ${manifestName(subject)} not found: ${words}`,
      trouble,
    )
  return failure('blob-unknown', 404, `${words} (${subject.blob ?? ''} of ${nameOf(subject)})`, trouble)
}

const denied = (subject: Subject, error: RegistryError, trouble: Trouble): BerthError =>
  subject.action === 'pull'
    ? failure(
        'denied',
        404,
        `pull access denied for ${nameOf(subject)}, repository does not exist or may require 'docker login': ${wordsOf(error)}`,
        trouble,
      )
    : failure('denied', 403, wordsOf(error), trouble)

const missingCode = (subject: Subject): string => {
  if (subject.blob !== undefined) return 'BLOB_UNKNOWN'
  return subject.manifest === undefined ? 'NAME_UNKNOWN' : 'MANIFEST_UNKNOWN'
}

/** A pause longer than this is not waited for: the person at the other end decides. Milliseconds. */
const longestWait = 300_000

/** The error for an answer with an error's status. */
export const refusal = (
  subject: Subject,
  status: number,
  errors: readonly RegistryError[],
  after: number | undefined,
): BerthError => {
  const first = errors[0] ?? asError(byStatus(status), '')
  const trouble = { transient: false, spoke: true }
  const code = first.code === 'UNKNOWN' ? byStatus(status) : first.code
  const said = { code, message: first.message }
  if (code === 'TOOMANYREQUESTS' || status === 429)
    return failure('too-many-requests', 500, wordsOf({ ...said, code: 'TOOMANYREQUESTS' }), {
      transient: after === undefined || after <= longestWait,
      spoke: true,
      ...(after === undefined ? {} : { after }),
    })
  if (code === 'DENIED') return denied(subject, said, trouble)
  if (code === 'UNAUTHORIZED') return failure('unauthorized', 401, wordsOf(said), trouble)
  if (code === 'NAME_UNKNOWN' || code === 'MANIFEST_UNKNOWN' || code === 'BLOB_UNKNOWN')
    return missing(subject, said, trouble)
  if (status === 404 && code === 'UNKNOWN')
    return missing(subject, asError(missingCode(subject), ''), trouble)
  // The session of an upload ran out: another is begun.
  if (code === 'BLOB_UPLOAD_UNKNOWN')
    return failure('registry-failed', 500, wordsOf(said), { ...trouble, transient: true })
  if (code === 'DIGEST_INVALID') return failure('digest-mismatch', 500, wordsOf(said), trouble)
  if (status >= 500 || status === 408)
    return failure(
      'registry-failed',
      500,
      `received unexpected HTTP status: ${status} from the registry ${subject.registry} (${wordsOf(said)})`,
      {
        transient: status !== 501 && (after === undefined || after <= longestWait),
        spoke: true,
        ...(after === undefined ? {} : { after }),
      },
    )
  return failure('registry-refused', status === 400 ? 400 : 500, wordsOf(said), trouble)
}
