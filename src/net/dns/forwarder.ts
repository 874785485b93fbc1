import { AnswerCache } from './cache.ts'
import { emptyAnswer } from './compose.ts'
import type { Asked, Exchange, Transport } from './exchange.ts'
import { type Answer, foldCase, type Query, rcode } from './message.ts'
import { type RaceTimes, race } from './race.ts'
import { UpstreamHealth } from './upstreams.ts'

/** Asks upstream what no name answers: one a daemon, with one cache and one memory of which server is well. */

export interface ForwarderOptions {
  exchange: Exchange
  /** Milliseconds of a clock that never goes back. */
  now(): number
  times: RaceTimes
  cacheBytes: number
  /** Questions under way of one container, and upstream of all. */
  mostPerContainer: number
  mostAtOnce: number
}

export interface Forwarding {
  containerId: string
  upstreams: readonly string[]
  transport: Transport
}

const probeMillis = 2000
/** Ours: from the host it would lead elsewhere. */
const ownAddress = /^127\.0\.0\.11(:53)?$/

export class Forwarder {
  readonly #options: ForwarderOptions
  readonly #cache: AnswerCache
  readonly #health: UpstreamHealth
  readonly #underway = new Map<string, Promise<Answer>>()
  readonly #perContainer = new Map<string, number>()
  readonly #closed = new AbortController()
  #probes = 0

  constructor(options: ForwarderOptions) {
    this.#options = options
    this.#cache = new AnswerCache({ now: options.now, bytes: options.cacheBytes })
    this.#health = new UpstreamHealth(options.now)
  }

  /** What the upstream servers answer, SERVFAIL where none does. Never rejects. */
  async ask(query: Query, how: Forwarding): Promise<Answer> {
    const upstreams = how.upstreams.filter(upstream => !ownAddress.test(upstream))
    if (upstreams.length === 0 || this.#closed.signal.aborted) return emptyAnswer(rcode.servFail)
    const asked: Asked = {
      question: foldCase(query.question.bytes),
      flags: query.flags,
      dnssec: query.edns?.dnssec ?? false,
    }
    const key = `${upstreams.join(',')} ${asked.flags} ${asked.dnssec} ${asked.question.toString('latin1')}`
    const known = this.#cache.fresh(key)
    if (known) return known
    return this.#counted(how.containerId, () => this.#shared(key, asked, { ...how, upstreams }))
  }

  close(): void {
    this.#closed.abort()
  }

  async #counted(containerId: string, work: () => Promise<Answer>): Promise<Answer> {
    const count = this.#perContainer.get(containerId) ?? 0
    if (count >= this.#options.mostPerContainer) return emptyAnswer(rcode.servFail)
    this.#perContainer.set(containerId, count + 1)
    try {
      return await work()
    } finally {
      const left = (this.#perContainer.get(containerId) ?? 1) - 1
      if (left > 0) this.#perContainer.set(containerId, left)
      else this.#perContainer.delete(containerId)
    }
  }

  /** Those who ask the same meanwhile wait for the same answer. */
  #shared(key: string, asked: Asked, how: Forwarding): Promise<Answer> {
    const place = `${how.transport} ${key}`
    const underway = this.#underway.get(place)
    if (underway !== undefined) return underway
    if (this.#underway.size >= this.#options.mostAtOnce) return Promise.resolve(emptyAnswer(rcode.servFail))
    const answer = this.#upstream(key, asked, how).finally(() => this.#underway.delete(place))
    this.#underway.set(place, answer)
    return answer
  }

  async #upstream(key: string, asked: Asked, { upstreams, transport }: Forwarding): Promise<Answer> {
    const order = this.#health.order(upstreams)
    if (order.some(each => this.#health.isWell(each))) this.#probe(upstreams, asked)
    try {
      const answer = await race({
        upstreams: order,
        times: this.#options.times,
        ask: (upstream, signal) =>
          this.#options.exchange(upstream, asked, {
            transport,
            signal: AbortSignal.any([signal, this.#closed.signal]),
          }),
        answered: upstream => this.#health.answered(upstream),
        failed: upstream => this.#health.failed(upstream),
      })
      this.#cache.put(key, answer)
      if (answer.rcode === rcode.noError || answer.rcode === rcode.nxDomain) return answer
      return this.#cache.stale(key) ?? answer
    } catch {
      return this.#cache.stale(key) ?? emptyAnswer(rcode.servFail)
    }
  }

  /** Sends the question to servers that were unwell as well; nobody waits for them. */
  #probe(upstreams: readonly string[], asked: Asked): void {
    for (const upstream of this.#health.due(upstreams)) {
      if (this.#probes >= this.#options.mostAtOnce) return
      this.#probes++
      const signal = AbortSignal.any([this.#closed.signal, AbortSignal.timeout(probeMillis)])
      this.#options
        .exchange(upstream, asked, { transport: 'udp', signal })
        .then(
          ({ rcode: code }) => {
            if (code === rcode.noError || code === rcode.nxDomain) this.#health.answered(upstream)
          },
          () => {},
        )
        .finally(() => {
          this.#probes--
        })
        .catch(() => {})
    }
  }
}
