import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { createSecureContext, getCACertificates, rootCertificates, type SecureContext } from 'node:tls'
import type { Dispatcher } from 'undici'
import { badRequest, messageOf } from '../core/errors.ts'
import { Body } from './body.ts'
import { failure, shownUrl } from './failures.ts'
import { networkFailure } from './networkFailures.ts'
import { type ProxySettings, proxyFor } from './proxies.ts'
import type { HostTls } from './types.ts'

/** Milliseconds. */
export interface Timings {
  /** For a connection to be there. */
  connect: number
  /** Without a byte: more is a cut. */
  silence: number
  /** Before the second attempt; it doubles from one to the next. */
  firstPause: number
  longestPause: number
}

export const defaultTimings: Timings = {
  connect: 30_000,
  silence: 60_000,
  firstPause: 500,
  longestPause: 15_000,
}

export type Headers = Record<string, string | string[]>

export interface Request {
  method: 'GET' | 'HEAD' | 'POST' | 'PATCH' | 'PUT' | 'DELETE'
  url: URL
  headers: Headers
  /** Made anew where a redirect asks for it again. Its length is in the headers. */
  body?: () => AsyncIterable<Uint8Array>
  /** The folder for certificates of who is asked, to be named where one is not trusted. */
  certificates?: string
  signal: AbortSignal
}

export interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  body: Body
  /** Who answered at last. */
  url: URL
  /** Another than who was asked: nothing that identifies the client was sent there. */
  elsewhere: boolean
}

const longestChain = 10

/** What may be told to whoever a registry redirects to. */
const harmless = new Set([
  'accept',
  'accept-encoding',
  'range',
  'user-agent',
  'content-type',
  'content-length',
])

const lowerCase = (headers: Headers): Headers =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))

/** The system's authorities, as other programs of the host trust them; Node's own where it has none. */
const systemAuthorities = (): readonly string[] => {
  const system = getCACertificates('system')
  return system.length > 0 ? system : rootCertificates
}

const contextOf = (tls: HostTls): SecureContext => {
  try {
    return createSecureContext({
      ...(tls.skipVerify ? {} : { ca: [...systemAuthorities(), ...tls.authorities] }),
      ...(tls.client ? { cert: tls.client.certificate, key: tls.client.key } : {}),
    })
  } catch (error) {
    throw badRequest(
      `the client certificate for a registry, or its key, cannot be used (${messageOf(error)}): both must be PEM texts, and belong together`,
      error,
    )
  }
}

type Hop = Omit<Answer, 'elsewhere'>

const sendOnce = (dispatcher: Dispatcher, request: Request, timings: Timings): Promise<Hop> =>
  new Promise((resolve, reject) => {
    const { method, url, signal } = request
    const content = request.body && Readable.from(request.body(), { objectMode: false, highWaterMark: 65536 })
    let body: Body | undefined
    let contentError: Error | undefined
    let controller: Dispatcher.DispatchController | undefined
    const asError = (error: unknown): Error =>
      signal.aborted ? signal.reason : (contentError ?? networkFailure(request, error, body !== undefined))
    const over = (error?: unknown): void => {
      signal.removeEventListener('abort', abort)
      content?.destroy()
      if (body) body.finish(error)
      else reject(asError(error))
    }
    // While the connection is being made there is nothing to abort yet.
    const abort = (): void => (controller ? controller.abort(signal.reason) : over(signal.reason))
    if (signal.aborted) return over(signal.reason)
    signal.addEventListener('abort', abort)
    content?.on('error', error => {
      // Our own fault, and not the network's.
      contentError ??= error
    })
    dispatcher.dispatch(
      {
        origin: url.origin,
        path: url.pathname + url.search,
        method,
        headers: request.headers,
        body: content ?? null,
        // What was sent may be on its way for long, and is put together before it is answered.
        headersTimeout: timings.silence * (method === 'GET' || method === 'HEAD' ? 1 : 5),
        bodyTimeout: timings.silence,
      },
      {
        onRequestStart: started => {
          controller = started
          if (signal.aborted) abort()
        },
        onResponseStart: (answering, status, headers) => {
          if (status < 200) return
          body = new Body(answering, asError)
          resolve({ status, headers, body, url })
        },
        onResponseData: (_controller, chunk) => body?.push(chunk),
        onResponseEnd: () => over(),
        onResponseError: (_controller, error) => over(error),
      },
    )
  })

const redirectTarget = (request: Request, answer: Hop): URL | undefined => {
  const location = [answer.headers['location'] ?? []].flat()[0]
  const follows = [301, 302, 303].includes(answer.status) && ['GET', 'HEAD'].includes(request.method)
  if (location === undefined || !(follows || answer.status === 307 || answer.status === 308)) return undefined
  const target = URL.canParse(location, request.url) ? new URL(location, request.url) : undefined
  if (!target || !/^https?:$/.test(target.protocol))
    throw failure('registry-failed', 500, `${shownUrl(request.url)} redirects to no address of HTTP`, {
      transient: false,
      spoke: true,
    })
  return target
}

/** Connections with one set of trust: pooled, through proxies, and from redirect to redirect. */
export class Transport {
  readonly #tls: HostTls
  readonly #proxies: ProxySettings
  readonly timings: Timings
  /** By proxy; empty for none. */
  readonly #dispatchers = new Map<string, Promise<Dispatcher>>()

  constructor(tls: HostTls, proxies: ProxySettings, timings: Timings) {
    this.#tls = tls
    this.#proxies = proxies
    this.timings = timings
  }

  /** No certificate counts: nobody knows who is at the other end. */
  get trustsAnybody(): boolean {
    return this.#tls.skipVerify
  }

  async #makeDispatcher(proxy: string): Promise<Dispatcher> {
    const { Agent, ProxyAgent } = await import('undici')
    const tls = { secureContext: contextOf(this.#tls), rejectUnauthorized: !this.#tls.skipVerify }
    const timeout = this.timings.connect
    // HTTP/1.1: one connection a blob, so that each has the whole window of its own.
    const limits = { allowH2: false, connectTimeout: timeout }
    if (proxy === '') return new Agent({ ...limits, connect: { ...tls, timeout } })
    const toProxy = { secureContext: contextOf({ authorities: [], skipVerify: false }), timeout }
    return new ProxyAgent({ ...limits, uri: proxy, requestTls: { ...tls, timeout }, proxyTls: toProxy })
  }

  #dispatcherFor(url: URL): Promise<Dispatcher> {
    const proxy = proxyFor(url, this.#proxies)?.href.replace(/^socks5h:/, 'socks5:') ?? ''
    const known = this.#dispatchers.get(proxy) ?? this.#makeDispatcher(proxy)
    this.#dispatchers.set(proxy, known)
    return known
  }

  /** Errors: `registry-unreachable`, `registry-untrusted`, and the signal's reason. Any status is an answer. */
  async send(first: Request): Promise<Answer> {
    let request: Request = { ...first, headers: lowerCase(first.headers) }
    let elsewhere = false
    for (let hop = 0; hop <= longestChain; hop += 1) {
      const answer = await sendOnce(await this.#dispatcherFor(request.url), request, this.timings)
      let target: URL | undefined
      try {
        target = redirectTarget(request, answer)
      } catch (error) {
        answer.body.cancel()
        throw error
      }
      if (!target) return { ...answer, elsewhere }
      await answer.body.discard()
      if (target.origin !== first.url.origin) elsewhere = true
      const headers = elsewhere
        ? Object.fromEntries(Object.entries(request.headers).filter(([name]) => harmless.has(name)))
        : request.headers
      request = { ...request, url: target, headers }
    }
    throw failure('registry-failed', 500, `${shownUrl(first.url)}: stopped after ${longestChain} redirects`, {
      transient: false,
      spoke: true,
    })
  }

  async #all(): Promise<Dispatcher[]> {
    const all = await Promise.allSettled(this.#dispatchers.values())
    return all.flatMap(made => (made.status === 'fulfilled' ? [made.value] : []))
  }

  /** Ends all connections; what is under way fails. */
  async close(): Promise<void> {
    for (const dispatcher of await this.#all()) await dispatcher.destroy()
  }

  /** Ends connections as what is under way on them ends. */
  async retire(): Promise<void> {
    for (const dispatcher of await this.#all()) await dispatcher.close()
  }
}

/** Certificates of registries are renewed: connections that trust the old ones go. */
const mostTransports = 64

/** Transports shared by all who trust the same: the same certificate is not parsed, nor a host connected to, anew. */
export class Transports {
  readonly #known = new Map<string, Transport>()
  readonly #proxies: ProxySettings
  readonly #timings: Timings

  constructor(proxies: ProxySettings, timings: Timings) {
    this.#proxies = proxies
    this.#timings = timings
  }

  of(tls: HostTls): Transport {
    const key = createHash('sha256').update(JSON.stringify(tls)).digest('hex')
    const known = this.#known.get(key) ?? new Transport(tls, this.#proxies, this.#timings)
    // The one that was used last is the last to go.
    this.#known.delete(key)
    this.#known.set(key, known)
    const [oldest] = this.#known
    if (this.#known.size > mostTransports && oldest) {
      this.#known.delete(oldest[0])
      oldest[1].retire().catch(() => {})
    }
    return known
  }

  async close(): Promise<void> {
    await Promise.all([...this.#known.values()].map(transport => transport.close()))
  }
}
