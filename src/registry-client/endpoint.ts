import { type Challenge, parseChallenges } from './challenge.ts'
import { failure, refusal, registryErrors, type Subject, shownUrl } from './failures.ts'
import { parseRetryAfter, single } from './headers.ts'
import { basicOf, type TokenRequest, type Tokens } from './tokens.ts'
import type { Answer, Headers, Request, Transport } from './transport.ts'
import type { Credentials, RegistryHost } from './types.ts'

/** One host, asked with one client's credentials. What it wants of a client is learnt from its first refusal. */

export interface EndpointOptions {
  host: RegistryHost
  credentials: Credentials | undefined
  transport: Transport
  tokens: Tokens
  userAgent: string
}

export interface Ask {
  method: Request['method']
  /** Below `/v2/`, or a whole address that the host named before. */
  target: string | URL
  headers?: Headers
  body?: Request['body']
  signal: AbortSignal
  /** What a token must allow. */
  scopes: readonly string[]
  /** For the words of a refusal. */
  subject: Subject
  /** `login`: ask for an identity token. */
  offline?: boolean
}

const errorLimit = 64 * 1024

/** The resource of `repository:library/busybox:pull`. */
const resourceOf = (scope: string): string => scope.slice(0, scope.lastIndexOf(':'))

/** Ours, and what the host asks for besides, as mirrors do that have their repositories under other names. */
const scopesFor = (ask: Ask, challenge: Challenge): string[] => {
  const wanted = (challenge.parameters['scope'] ?? '').split(' ').filter(scope => scope !== '')
  const ours = new Set(ask.scopes.map(resourceOf))
  return [...ask.scopes, ...wanted.filter(scope => !ours.has(resourceOf(scope)))]
}

const certificatesOf = ({ certificates }: RegistryHost): { certificates?: string } =>
  certificates === undefined ? {} : { certificates }

export class Endpoint {
  readonly host: RegistryHost
  /** It has answered by HTTP. */
  spoke = false
  /** It could not be reached lately, and is passed over until then where others can be asked. Monotonic milliseconds. */
  avoidUntil = 0
  /** The identity token that a login gave. */
  identityToken = ''
  readonly #options: EndpointOptions
  #challenge: Challenge | undefined

  constructor(options: EndpointOptions) {
    this.host = options.host
    this.#options = options
  }

  /** `https://host/v2/library/busybox/blobs/…`, with the registry's name for a mirror. */
  urlOf(path: string): URL {
    const { base, overridePath, namespace } = this.host
    const url = new URL(`${base}${overridePath ? '' : '/v2'}/${path}`)
    if (namespace !== '') url.searchParams.set('ns', namespace)
    return url
  }

  #tokenRequest(ask: Ask, challenge: Challenge): TokenRequest {
    const { transport, userAgent } = this.#options
    const realm = challenge.parameters['realm'] ?? ''
    if (!URL.canParse(realm, this.host.base) || !/^https?:$/.test(new URL(realm, this.host.base).protocol))
      throw failure('registry-failed', 500, `${this.host.base} names no token server in its challenge`, {
        transient: false,
        spoke: true,
      })
    const url = new URL(realm, this.host.base)
    const downgraded = this.host.base.startsWith('https:') && url.protocol === 'http:'
    if (downgraded && this.#options.credentials && !transport.trustsAnybody)
      throw failure(
        'registry-untrusted',
        500,
        `${this.host.base} wants the credentials sent to ${shownUrl(url)}, where everybody can read them: its administrator must give its token server an address of https`,
        { transient: false, spoke: true },
      )
    return {
      realm: url,
      service: challenge.parameters['service'] ?? '',
      scopes: scopesFor(ask, challenge),
      credentials: this.#options.credentials,
      offline: ask.offline ?? false,
      transport,
      ...certificatesOf(this.host),
      userAgent,
      subject: ask.subject,
    }
  }

  async #authorization(ask: Ask): Promise<string | undefined> {
    const { credentials, tokens } = this.#options
    if (credentials && credentials.registryToken !== '') return `Bearer ${credentials.registryToken}`
    const challenge = this.#challenge
    if (!challenge) return undefined
    if (challenge.scheme === 'basic') {
      if (credentials && credentials.username !== '' && credentials.password !== '')
        return basicOf(credentials)
      // The status is Docker's: of 401 its client makes a question for a name and a password.
      throw failure('unauthorized', 500, 'no basic auth credentials: use docker login', {
        transient: false,
        spoke: true,
      })
    }
    const token = await tokens.get(this.#tokenRequest(ask, challenge), ask.signal)
    if (token.refresh !== '') this.identityToken = token.refresh
    return `Bearer ${token.value}`
  }

  async #send(ask: Ask): Promise<{ answer: Answer; used: string | undefined }> {
    const { target, method, body, signal } = ask
    const url = typeof target === 'string' ? this.urlOf(target) : target
    const own = url.origin === new URL(this.host.base).origin
    const used = own ? await this.#authorization(ask) : undefined
    const headers: Headers = {
      ...(own ? this.host.headers : {}),
      'user-agent': this.#options.userAgent,
      'accept-encoding': 'identity',
      ...ask.headers,
      ...(used === undefined ? {} : { authorization: used }),
    }
    const answer = await this.#options.transport.send({
      method,
      url,
      headers,
      signal,
      ...certificatesOf(this.host),
      ...(body ? { body } : {}),
    })
    this.spoke = true
    return { answer, used }
  }

  /** Takes up what a 401 wants; false where there is nothing new to try. */
  async #learn(ask: Ask, answer: Answer, used: string | undefined): Promise<boolean> {
    const { credentials, tokens } = this.#options
    if (credentials && credentials.registryToken !== '') return false
    const challenges = parseChallenges(answer.headers['www-authenticate'])
    const challenge =
      challenges.find(({ scheme }) => scheme === 'bearer') ??
      challenges.find(({ scheme }) => scheme === 'basic')
    if (!challenge) return false
    const before = this.#challenge
    this.#challenge = challenge
    if (used === undefined) return true
    if (challenge.scheme === 'basic') return before?.scheme !== 'basic'
    await tokens.forget(this.#tokenRequest(ask, challenge), used.replace(/^Bearer /, ''))
    return true
  }

  /** Any status but a 401 that credentials could answer. A body is sent again after such a one. */
  async ask(ask: Ask): Promise<Answer> {
    const first = await this.#send(ask)
    if (first.answer.status !== 401 || first.answer.elsewhere) return first.answer
    if (!(await this.#learn(ask, first.answer, first.used))) return first.answer
    await first.answer.body.discard()
    return (await this.#send(ask)).answer
  }

  /** The error that an answer is. */
  async refuse(ask: Ask, answer: Answer): Promise<Error> {
    const text = (await answer.body.read(errorLimit).catch(() => undefined))?.toString() ?? ''
    const challenges = parseChallenges(answer.headers['www-authenticate'])
    const after = parseRetryAfter(single(answer.headers['retry-after']), Date.now())
    // A signed address that ran out; the registry makes another.
    if (answer.elsewhere && (answer.status === 401 || answer.status === 403))
      return failure(
        'registry-failed',
        500,
        `${shownUrl(answer.url)} refused what it was asked for (${answer.status})`,
        {
          transient: true,
          spoke: true,
        },
      )
    return refusal(ask.subject, answer.status, registryErrors(answer.status, challenges, text), after)
  }

  /** An answer of one of these statuses, or of any 2xx where none is named. */
  async expect(ask: Ask, statuses?: readonly number[]): Promise<Answer> {
    const answer = await this.ask(ask)
    const fine = statuses ? statuses.includes(answer.status) : answer.status >= 200 && answer.status < 300
    if (fine) return answer
    throw await this.refuse(ask, answer)
  }
}
