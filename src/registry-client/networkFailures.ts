import type { BerthError } from '../core/errors.ts'
import { messageOf } from '../core/errors.ts'
import { failure, shownUrl } from './failures.ts'

/** What goes wrong before a registry answers, or while it does: names, connections, certificates. */

interface Reason {
  why: string
  code?: 'registry-untrusted'
  transient: boolean
}

const untrusted = (why: string, advice: string): Reason => ({
  why: `${why}; ${advice}`,
  code: 'registry-untrusted',
  transient: false,
})

const unknownAuthority = (host: string, folder: string): Reason =>
  untrusted(
    'x509: certificate signed by unknown authority',
    folder === ''
      ? `add the certificate of the authority of ${host} to those that this host trusts`
      : `put the certificate of its authority as ca.crt into ${folder}, or name the registry in insecure-registries`,
  )

const plainAdvice =
  'if it is to be trusted without TLS, name it in insecure-registries of daemon.json or with --insecure-registry'

/** By code; `folder` is where certificates for the host are looked for. */
const reasons: Record<string, (host: string, folder: string) => Reason> = {
  ECONNREFUSED: () => ({ why: 'connect: connection refused', transient: true }),
  ECONNRESET: () => ({ why: 'connection reset by peer', transient: true }),
  EPIPE: () => ({ why: 'connection reset by peer', transient: true }),
  UND_ERR_SOCKET: () => ({ why: 'the connection was cut (unexpected EOF)', transient: true }),
  EHOSTUNREACH: () => ({ why: 'connect: no route to host', transient: true }),
  ENETUNREACH: () => ({ why: 'connect: network is unreachable', transient: true }),
  ENOTFOUND: host => ({ why: `lookup ${host}: no such host`, transient: false }),
  EAI_AGAIN: host => ({ why: `lookup ${host}: no answer of the name servers`, transient: true }),
  ETIMEDOUT: () => ({ why: 'connect: i/o timeout', transient: true }),
  UND_ERR_CONNECT_TIMEOUT: () => ({ why: 'connect: i/o timeout', transient: true }),
  UND_ERR_HEADERS_TIMEOUT: () => ({ why: 'no answer in time', transient: true }),
  UND_ERR_BODY_TIMEOUT: () => ({ why: 'the connection went silent', transient: true }),
  DEPTH_ZERO_SELF_SIGNED_CERT: unknownAuthority,
  SELF_SIGNED_CERT_IN_CHAIN: unknownAuthority,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT: unknownAuthority,
  CERT_HAS_EXPIRED: () =>
    untrusted(
      'x509: certificate has expired or is not yet valid',
      'renew it, or set the clock of this host right',
    ),
  CERT_NOT_YET_VALID: () =>
    untrusted('x509: certificate has expired or is not yet valid', 'set the clock of this host right'),
  ERR_TLS_CERT_ALTNAME_INVALID: host =>
    untrusted(
      `x509: certificate is not valid for ${host}`,
      'use a name that the certificate has, or renew it with this one',
    ),
  ERR_SSL_WRONG_VERSION_NUMBER: () =>
    untrusted('http: server gave HTTP response to HTTPS client', plainAdvice),
  ERR_SSL_PACKET_LENGTH_TOO_LONG: () =>
    untrusted('http: server gave HTTP response to HTTPS client', plainAdvice),
}

/** The innermost code that is known: libraries wrap errors of sockets, and lists of them. */
const codeOf = (error: unknown): string => {
  if (!(error instanceof Error)) return ''
  const inner = [...(error instanceof AggregateError ? error.errors : []), error.cause]
  for (const below of inner) {
    const code = codeOf(below)
    if (code !== '') return code
  }
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  return Object.hasOwn(reasons, code) ? code : ''
}

/** TLS libraries name some alerts by text alone. */
const isTls = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && /^(ERR_SSL|ERR_TLS|EPROTO|ERR_OSSL)/.test(String(error.code))

const reasonOf = (error: unknown, url: URL, folder: string): Reason => {
  const known = reasons[codeOf(error)]
  if (known) return known(url.host, folder)
  const text = messageOf(error)
  if (isTls(error))
    return untrusted(`tls: ${text}`, `the registry and this host agree on no way to speak TLS`)
  const proxy = /Proxy response \((\d+)\)|Proxy Authentication Required \((407)\)/.exec(text)
  if (proxy)
    return {
      why: `the proxy refused the connection (${proxy[1] ?? proxy[2]}); see the proxy settings of the daemon`,
      transient: false,
    }
  return { why: text, transient: true }
}

export interface FailedRequest {
  method: string
  url: URL
  /** Where certificates for the host are looked for; nowhere where it is absent. */
  certificates?: string
}

/** Whatever a connection threw, as an error in Docker's form: `Get "https://host/v2/": why`. */
export const networkFailure = (
  { method, url, certificates = '' }: FailedRequest,
  error: unknown,
  spoke: boolean,
): BerthError => {
  const { why, code, transient } = reasonOf(error, url, certificates)
  const verb = `${method.slice(0, 1)}${method.slice(1).toLowerCase()}`
  return failure(code ?? 'registry-unreachable', 500, `${verb} "${shownUrl(url)}": ${why}`, {
    transient,
    spoke,
  })
}
