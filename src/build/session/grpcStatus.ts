import { BerthError } from '../../core/errors.ts'

/** How a call ended (gRPC over HTTP/2, "Responses"), as an error of ours. */

type Fields = Readonly<Record<string, string | string[] | number | undefined>>

/** Codes of gRPC that are told apart, with the code and the status of their BerthError. */
const known = new Map<number, [code: string, status: number]>([
  [1, ['cancelled', 499]],
  [3, ['bad-request', 400]],
  [4, ['deadline-exceeded', 504]],
  [5, ['not-found', 404]],
  [6, ['conflict', 409]],
  [7, ['forbidden', 403]],
  [12, ['unimplemented', 501]],
  [14, ['unavailable', 503]],
  [16, ['unauthorized', 401]],
])

const names =
  'OK Canceled Unknown InvalidArgument DeadlineExceeded NotFound AlreadyExists PermissionDenied ResourceExhausted FailedPrecondition Aborted OutOfRange Unimplemented Internal Unavailable DataLoss Unauthenticated'.split(
    ' ',
  )

const textOf = (value: string | string[] | number | undefined): string | undefined =>
  value === undefined ? undefined : String(value)

/** A message is percent-encoded; one that is not is shown as it came. */
const decoded = (message: string): string => {
  try {
    return decodeURIComponent(message)
  } catch {
    return message
  }
}

/** Undefined while no status is among the fields. */
export const statusOf = (fields: Fields): { code: number; message: string } | undefined => {
  const code = textOf(fields['grpc-status'])
  if (code === undefined) return undefined
  const number = Number.parseInt(code, 10)
  return {
    code: Number.isNaN(number) ? 2 : number,
    message: decoded(textOf(fields['grpc-message']) ?? ''),
  }
}

/** In the words in which Go's clients show it. */
export const callError = (code: number, message: string): BerthError => {
  const [ownCode, status] = known.get(code) ?? ['session-call-failed', 500]
  return new BerthError(
    ownCode,
    status,
    `rpc error: code = ${names[code] ?? `Code(${code})`} desc = ${message}`,
  )
}

/** gRPC's codes of servers and proxies that speak HTTP only. */
const httpCodes = new Map([
  [400, 13],
  [401, 16],
  [403, 7],
  [404, 12],
  [429, 14],
  [502, 14],
  [503, 14],
  [504, 14],
])

/** An answer that is none of gRPC's. */
export const httpError = (status: number | undefined): BerthError =>
  callError(httpCodes.get(status ?? 0) ?? 2, `unexpected HTTP status code received from server: ${status}`)
