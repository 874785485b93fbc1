import { BerthError, forbidden, internal, messageOf } from '../core/errors.ts'
import { stringify } from '../core/json.ts'
import type { Engine } from '../engine/engine.ts'
import { hasNoBody, isJsonType, peekBody } from './body.ts'
import { holdReading } from './hijack.ts'
import { peerCertificates } from './peer.ts'
import type { Answer, Call, Route } from './route.ts'

/**
 * Authorization plugins: each is asked before a handler sees a request, and
 * again before its answer goes; one that denies, fails or is not there ends it.
 */

/** Bytes of a body that plugins are shown; a longer one is refused, so that nothing passes unseen. */
const maxBody = 4 * 1024 * 1024
/** Milliseconds that one plugin may think. */
const deadline = 60_000

type Headers = Record<string, string>

/** As Docker's JSON has it: what is empty is left out. */
interface Question {
  User?: string
  UserAuthNMethod?: string
  RequestMethod: string
  RequestUri: string
  /** Base64. */
  RequestBody?: string
  RequestHeaders: Headers
  /** PEM in base64. */
  RequestPeerCertificates?: string[]
  ResponseStatusCode?: number
  ResponseBody?: string
  ResponseHeaders?: Headers
}

const secret = new Set(['authorization', 'x-registry-config', 'x-registry-auth'])
/** They belong to the connection. */
const hidden = new Set(['host', 'transfer-encoding'])

const canonical = (name: string): string =>
  name.toLowerCase().replace(/(^|-)[a-z]/g, letter => letter.toUpperCase())

const shown = (pairs: readonly (readonly [string, string])[]): Headers =>
  Object.fromEntries(
    pairs
      .filter(([name]) => !secret.has(name.toLowerCase()) && !hidden.has(name.toLowerCase()))
      .map(([name, value]) => [canonical(name), value]),
  )

const pairsOf = (raw: readonly string[]): [string, string][] =>
  raw.flatMap((name, index) => (index % 2 === 0 ? [[name, raw[index + 1] ?? ''] as [string, string]] : []))

/** What `docker login` sends and gets is nobody else's. */
const isSecret = (url: string): boolean => /^[^/]*\/(v\d[\d.]*\/)?auth/.test(url)

type Asking = Pick<Call, 'req' | 'signal'>

const bodyOf = async ({ req, signal }: Asking): Promise<string | undefined> => {
  if (hasNoBody(req) || !isJsonType(req.headers['content-type']) || isSecret(req.url ?? '')) return undefined
  const body = await peekBody(req, maxBody, signal)
  if (!body) throw internal(`request body too large for authorization plugin: size exceeds ${maxBody} bytes`)
  return body.toString('base64')
}

const questionOf = async (call: Asking): Promise<Question> => {
  const { req } = call
  const body = await bodyOf(call)
  const certificates = peerCertificates(req.socket)
  return {
    ...(certificates[0] ? { User: certificates[0].commonName, UserAuthNMethod: 'TLS' } : {}),
    RequestMethod: req.method ?? 'GET',
    RequestUri: req.url ?? '/',
    ...(body ? { RequestBody: body } : {}),
    RequestHeaders: shown(pairsOf(req.rawHeaders)),
    ...(certificates[0]
      ? { RequestPeerCertificates: certificates.map(({ pem }) => Buffer.from(pem).toString('base64')) }
      : {}),
  }
}

/** Errors: 403 of the first that denies, 500 of the first that fails. */
const askAll = async (
  engine: Engine,
  method: 'AuthZReq' | 'AuthZRes',
  question: Question,
  signal?: AbortSignal,
): Promise<void> => {
  for (const name of engine.settings.authorizationPlugins) {
    let answer: { Allow?: unknown; Msg?: unknown }
    try {
      const how = { patient: true, ...(signal ? { signal } : {}) }
      const plugin = await engine.plugins.get(name, 'authz', how)
      answer = await plugin.call(`AuthZPlugin.${method}`, question, { ...how, deadline })
    } catch (error) {
      signal?.throwIfAborted()
      throw internal(`plugin ${name} failed with error: ${messageOf(error)}`, error)
    }
    if (answer.Allow !== true)
      throw forbidden(
        `authorization denied by plugin ${name}: ${typeof answer.Msg === 'string' ? answer.Msg : ''}`,
      )
  }
}

/** An answer that has gone already, wholly or in part: what plugins say of it can change nothing. */
const tellAll = async (engine: Engine, question: Question): Promise<void> => {
  try {
    await askAll(engine, 'AuthZRes', question)
  } catch (error) {
    engine.log.warn('an authorization plugin did not allow an answer that had begun', {
      request: `${question.RequestMethod} ${question.RequestUri}`,
      error: messageOf(error),
    })
  }
}

/** What the client would get of an answer that is not sent yet. */
const answered = ({ res, req }: Call, answer: Answer): Partial<Question> => {
  const headers = Object.entries(res.getHeaders()).map(([name, value]) => [name, String(value)] as const)
  if (answer?.json === undefined)
    return { ResponseStatusCode: answer?.status ?? 204, ResponseHeaders: shown(headers) }
  const text = `${stringify(answer.json)}\n`
  const isShown = !isSecret(req.url ?? '') && Buffer.byteLength(text) <= maxBody
  return {
    ResponseStatusCode: answer.status ?? 200,
    ResponseHeaders: shown([...headers, ['Content-Type', 'application/json']]),
    ...(isShown ? { ResponseBody: Buffer.from(text).toString('base64') } : {}),
  }
}

/** Until the handler runs, what follows the request's end stays in the kernel: it may be a stream's. */
const admit = async (call: Call): Promise<Question> => {
  const { engine, req, upgrade, signal } = call
  const question = await questionOf(call)
  const release = !upgrade && req.complete ? holdReading(req) : undefined
  try {
    await askAll(engine, 'AuthZReq', question, signal)
  } finally {
    release?.()
  }
  return question
}

/**
 * Runs a handler that all plugins allow. `isTaken` tells of a connection that
 * has left HTTP, whose answer nobody but the client sees. Errors: 403, 500.
 */
export const authorized = async (call: Call, route: Route, isTaken: () => boolean): Promise<Answer> => {
  const { engine, res, upgrade } = call
  const question = await admit(call)
  let answer: Answer
  try {
    answer = await route.handle(call)
  } catch (error) {
    const status = error instanceof BerthError ? error.status : 500
    await tellAll(engine, { ...question, ResponseStatusCode: status })
    throw error
  }
  if (isTaken()) await tellAll(engine, { ...question, ResponseStatusCode: upgrade ? 101 : 200 })
  else if (res.headersSent)
    await tellAll(engine, { ...question, ...answered(call, { status: res.statusCode }) })
  else await askAll(engine, 'AuthZRes', { ...question, ...answered(call, answer) })
  return answer
}

/**
 * Asks of a call whose answer is a stream from its beginning; what it gives tells plugins of the call's end, with its
 * status. Errors: 403, 500.
 */
export const admitStream = async (
  engine: Engine,
  asking: Asking,
): Promise<(status: number) => Promise<void>> => {
  const question = await questionOf(asking)
  await askAll(engine, 'AuthZReq', question, asking.signal)
  return async status => await tellAll(engine, { ...question, ResponseStatusCode: status })
}
