import { createHash } from 'node:crypto'
import { abandonable } from '../core/abort.ts'
import { parseChallenges } from './challenge.ts'
import { failure, refusal, registryErrors, type Subject, shownUrl } from './failures.ts'
import { single } from './headers.ts'
import { retried } from './retry.ts'
import type { Answer, Headers, Request, Transport } from './transport.ts'
import type { Credentials } from './types.ts'

/** Tokens of a token server (the distribution specification's "token authentication"), kept until shortly before they end. */

export interface Token {
  value: string
  /** By the monotonic clock. Milliseconds. */
  ends: number
  /** A new identity token; empty where the server gave none. */
  refresh: string
}

export interface TokenRequest {
  /** Where the challenge sends the client. */
  realm: URL
  service: string
  scopes: readonly string[]
  credentials: Credentials | undefined
  /** Ask for an identity token, to be kept instead of the password. */
  offline: boolean
  transport: Transport
  /** As of a `Request`. */
  certificates?: string
  userAgent: string
  /** For the words of a refusal. */
  subject: Subject
}

/** The name by which Docker's clients present themselves to token servers. */
const clientId = 'docker'
const answerLimit = 1024 * 1024
/** A token lives a minute at least: that is what clients were told when servers did not yet say. Seconds. */
const shortestLife = 60
const attempts = 3

/** A token is not used in its last moments: the request has a way to go. Milliseconds. */
const margin = 5_000

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

/**
 * How long a token still lives, in milliseconds. Its age is told by the server's own clock (`Date`), so that it does not
 * matter how far that is from ours.
 */
export const lifeOf = (body: Record<string, unknown>, date: string | undefined): number => {
  const given = Number(body['expires_in'])
  const life = Math.max(Number.isFinite(given) ? given : 0, shortestLife) * 1000
  const age = Date.parse(date ?? '') - Date.parse(textOf(body['issued_at']))
  return Math.max(life - (age > 0 && age < life ? age : 0) - margin, 0)
}

const basic = (name: string, secret: string): string =>
  `Basic ${Buffer.from(`${name}:${secret}`).toString('base64')}`

export const basicOf = ({ username, password }: Pick<Credentials, 'username' | 'password'>): string =>
  basic(username, password)

const byGet = (request: TokenRequest, signal: AbortSignal): Request => {
  const { credentials, service, scopes, offline } = request
  const url = new URL(request.realm)
  if (service !== '') url.searchParams.append('service', service)
  for (const scope of scopes) url.searchParams.append('scope', scope)
  if (offline) {
    url.searchParams.append('offline_token', 'true')
    url.searchParams.append('client_id', clientId)
  }
  const headers: Headers = { 'user-agent': request.userAgent, accept: 'application/json' }
  const secret = credentials?.password || credentials?.identityToken || ''
  if (credentials && credentials.username !== '' && secret !== '') {
    url.searchParams.append('account', credentials.username)
    headers['authorization'] = basic(credentials.username, secret)
  }
  return { method: 'GET', url, headers, signal }
}

const byPost = (request: TokenRequest, refresh: string, signal: AbortSignal): Request => {
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    refresh_token: refresh,
    service: request.service,
    scope: request.scopes.join(' '),
    client_id: clientId,
  })
  const content = Buffer.from(form.toString())
  const headers: Headers = {
    'user-agent': request.userAgent,
    accept: 'application/json',
    'content-type': 'application/x-www-form-urlencoded',
    'content-length': String(content.length),
  }
  const body = async function* (): AsyncGenerator<Uint8Array> {
    yield content
  }
  return { method: 'POST', url: request.realm, headers, body, signal }
}

const broken = (request: TokenRequest, why: string): Error =>
  failure('registry-failed', 500, `the token server ${shownUrl(request.realm)} ${why}`, {
    transient: false,
    spoke: true,
  })

const readToken = async (request: TokenRequest, answer: Answer): Promise<Token> => {
  const text = (await answer.body.read(answerLimit))?.toString() ?? ''
  if (answer.status < 200 || answer.status > 299) {
    const challenges = parseChallenges(answer.headers['www-authenticate'])
    throw refusal(request.subject, answer.status, registryErrors(answer.status, challenges, text), undefined)
  }
  const parse = (): unknown => {
    try {
      return JSON.parse(text)
    } catch {
      return undefined
    }
  }
  const body = parse()
  if (typeof body !== 'object' || body === null)
    throw broken(request, 'answers with something that is no JSON')
  const fields = body as Record<string, unknown>
  const value = textOf(fields['access_token']) || textOf(fields['token'])
  if (value === '') throw broken(request, 'did not include a token in its answer')
  const life = lifeOf(fields, single(answer.headers['date']))
  return { value, ends: performance.now() + life, refresh: textOf(fields['refresh_token']) }
}

const fetchToken = async (request: TokenRequest, signal: AbortSignal): Promise<Token> => {
  const refresh = request.credentials?.identityToken ?? ''
  const { transport, certificates } = request
  const send = (sent: Request): Promise<Answer> =>
    transport.send({ ...sent, ...(certificates === undefined ? {} : { certificates }) })
  if (refresh !== '') {
    const answer = await send(byPost(request, refresh, signal))
    // Some servers know only the older way, and take the identity token for a password there.
    const older = (answer.status === 404 || answer.status === 405) && request.credentials?.username !== ''
    if (!older) return readToken(request, answer)
    await answer.body.discard()
  }
  return readToken(request, await send(byGet(request, signal)))
}

const keyOf = (request: TokenRequest): string =>
  createHash('sha256')
    .update(
      JSON.stringify([
        request.realm.href,
        request.service,
        request.scopes,
        request.credentials,
        request.offline,
      ]),
    )
    .digest('hex')

const mostTokens = 256
/** For a token in all. Milliseconds. */
const longestFetch = 60_000

/** All tokens of a client, by server, scope and credentials. Who wants one that is being fetched waits for it. */
export class Tokens {
  readonly #known = new Map<string, Promise<Token>>()

  /** Errors: as a registry refuses, `registry-unreachable`. */
  async get(request: TokenRequest, signal: AbortSignal): Promise<Token> {
    const key = keyOf(request)
    const known = this.#known.get(key)
    if (known !== undefined) {
      const token = await abandonable(signal, known)
      if (token.ends > performance.now()) return token
      if (this.#known.get(key) === known) this.#known.delete(key)
      return this.get(request, signal)
    }
    const limit = AbortSignal.timeout(longestFetch)
    const { timings } = request.transport
    const fetching = retried(() => fetchToken(request, limit), { attempts, timings, signal: limit })
    this.#keep(key, fetching)
    return abandonable(signal, fetching)
  }

  /** A registry refused it: the next one is fetched. */
  async forget(request: TokenRequest, refused: string): Promise<void> {
    const key = keyOf(request)
    const known = this.#known.get(key)
    const token = await known?.catch(() => undefined)
    if (token?.value === refused && this.#known.get(key) === known) this.#known.delete(key)
  }

  #keep(key: string, fetching: Promise<Token>): void {
    this.#known.set(key, fetching)
    fetching.catch(() => {
      if (this.#known.get(key) === fetching) this.#known.delete(key)
    })
    const oldest = this.#known.keys().next().value
    if (this.#known.size > mostTokens && oldest !== undefined) this.#known.delete(oldest)
  }
}
