import { STATUS_CODES } from 'node:http'
import { hostsOf } from './certificates.ts'
import { Endpoint } from './endpoint.ts'
import { failure } from './failures.ts'
import { openDownload } from './fetchAddress.ts'
import { remoteRepository } from './repository.ts'
import { inRounds } from './rounds.ts'
import { hubIndex, searchAt } from './search.ts'
import { Tokens } from './tokens.ts'
import { defaultTimings, type Timings, Transports } from './transport.ts'
import type {
  Credentials,
  Download,
  RegistryClient,
  RegistryHost,
  RegistrySettings,
  Search,
  SearchResult,
} from './types.ts'

const foreignHost = (url: URL): RegistryHost => ({
  base: url.origin,
  capabilities: new Set(['pull']),
  namespace: url.host,
  overridePath: true,
  tls: { authorities: [], skipVerify: false },
  headers: {},
})

const isAnonymous = (credentials: Credentials): boolean =>
  Object.values(credentials).every(value => value === '')

class Client implements RegistryClient {
  #settings: RegistrySettings
  readonly #timings: Timings
  readonly #transports: Transports
  readonly #tokens = new Tokens()

  constructor(settings: RegistrySettings, timings: Timings) {
    this.#settings = settings
    this.#timings = timings
    this.#transports = new Transports(settings.proxies, timings)
  }

  /** Credentials are the registry's own: a mirror is asked without. */
  #endpoint(host: RegistryHost, credentials: Credentials | undefined): Endpoint {
    const own = host.namespace === '' && credentials && !isAnonymous(credentials)
    return new Endpoint({
      host,
      credentials: own ? credentials : undefined,
      transport: this.#transports.of(host.tls),
      tokens: this.#tokens,
      userAgent: this.#settings.userAgent,
    })
  }

  async #endpoints(
    registry: string,
    credentials: Credentials | undefined,
    settings = this.#settings,
  ): Promise<Endpoint[]> {
    const hosts = await hostsOf(registry, settings)
    return hosts.map(host => this.#endpoint(host, credentials))
  }

  configure(settings: Pick<RegistrySettings, 'mirrors' | 'insecure' | 'attempts'>): void {
    this.#settings = { ...this.#settings, ...settings }
  }

  repository(registry: string, path: string, credentials: Credentials | undefined) {
    const settings = this.#settings
    return remoteRepository({
      registry,
      path,
      endpoints: () => this.#endpoints(registry, credentials, settings),
      foreign: url => this.#endpoint(foreignHost(url), undefined),
      attempts: settings.attempts,
      timings: this.#timings,
    })
  }

  async login(registry: string, credentials: Credentials, signal: AbortSignal) {
    const endpoints = (await this.#endpoints(registry, credentials)).filter(
      ({ host }) => host.namespace === '',
    )
    const subject = { registry, path: '', action: 'pull' as const }
    const options = { attempts: 1, timings: this.#timings, signal }
    return inRounds(
      endpoints,
      async endpoint => {
        const ask = { method: 'GET' as const, target: '', signal, scopes: [], subject, offline: true }
        const answer = await endpoint.ask(ask)
        await answer.body.discard()
        if (answer.status !== 200)
          throw failure(
            answer.status === 401 ? 'unauthorized' : 'registry-failed',
            answer.status === 401 ? 401 : 500,
            `login attempt to ${endpoint.host.base}/v2/ failed with status: ${answer.status} ${STATUS_CODES[answer.status] ?? ''}`,
            { transient: false, spoke: true },
          )
        return { identityToken: endpoint.identityToken }
      },
      options,
    )
  }

  /** Docker's own registry is searched at another host than it is pulled from. */
  async #searchable(registry: string, credentials: Credentials | undefined): Promise<Endpoint[]> {
    const endpoints = (await this.#endpoints(registry, credentials)).filter(
      ({ host }) => host.namespace === '',
    )
    const [own] = endpoints
    if (registry !== 'docker.io' || !own) return endpoints
    return [this.#endpoint({ ...own.host, base: hubIndex, overridePath: false }, credentials)]
  }

  async search(registry: string, { term, limit, credentials, signal }: Search): Promise<SearchResult[]> {
    const { attempts } = this.#settings
    const subject = { registry, path: '', action: 'pull' as const }
    return inRounds(
      await this.#searchable(registry, credentials),
      endpoint => searchAt(endpoint, { term, limit }, { signal, subject }),
      { attempts, timings: this.#timings, signal },
    )
  }

  download(url: URL, signal: AbortSignal, known?: string): Promise<Download> {
    const transport = this.#transports.of({ authorities: [], skipVerify: false })
    const { userAgent } = this.#settings
    return openDownload({ url, transport, userAgent, signal, ...(known === undefined ? {} : { known }) })
  }

  close(): Promise<void> {
    return this.#transports.close()
  }
}

export const createRegistryClient = (
  settings: RegistrySettings,
  timings: Timings = defaultTimings,
): RegistryClient => new Client(settings, timings)
