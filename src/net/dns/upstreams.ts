import net from 'node:net'

/**
 * The memory of which upstream server is well. Those that are, are asked in
 * the order in which they are listed, not the quickest first: a list often
 * begins with the server that alone knows a site's own names. A server that
 * another had to answer for is unwell until it answers again, for which it is
 * sent copies of real questions, ever more seldom.
 */

export interface UpstreamAddress {
  address: string
  port: number
}

const dnsPort = 53

/** `10.0.0.53`, `10.0.0.53:5353`, `fd00::53`, `[fd00::53]:5353`; undefined for anything else. */
export const parseUpstream = (text: string): UpstreamAddress | undefined => {
  if (net.isIP(text) !== 0) return { address: text, port: dnsPort }
  const match = /^\[?([^\]]+?)\]?:(\d{1,5})$/.exec(text)
  const [, address = '', port = ''] = match ?? []
  const valid = net.isIP(address) !== 0 && Number(port) > 0 && Number(port) < 0x10000
  return valid ? { address, port: Number(port) } : undefined
}

interface Unwell {
  failures: number
  retryAt: number
}

const firstRetryMillis = 1000
const longestRetryMillis = 30_000
/** Those of all containers' lists that are unwell; beyond it the longest known is forgotten. */
const mostRemembered = 256

export class UpstreamHealth {
  readonly #now: () => number
  readonly #unwell = new Map<string, Unwell>()

  constructor(now: () => number) {
    this.#now = now
  }

  isWell(upstream: string): boolean {
    return !this.#unwell.has(upstream)
  }

  /** In which order to ask: those that are well first. */
  order(upstreams: readonly string[]): string[] {
    const well = upstreams.filter(upstream => this.isWell(upstream))
    return [...well, ...upstreams.filter(upstream => !this.isWell(upstream))]
  }

  /** Those that are unwell and due to be tried again; they are not due again at once. */
  due(upstreams: readonly string[]): string[] {
    const now = this.#now()
    return upstreams.filter(upstream => {
      const unwell = this.#unwell.get(upstream)
      if (!unwell || unwell.retryAt > now) return false
      this.failed(upstream)
      return true
    })
  }

  answered(upstream: string): void {
    this.#unwell.delete(upstream)
  }

  /** It did not answer, or failed at what another could answer. */
  failed(upstream: string): void {
    const failures = (this.#unwell.get(upstream)?.failures ?? 0) + 1
    const wait = Math.min(firstRetryMillis * 2 ** (failures - 1), longestRetryMillis)
    this.#unwell.set(upstream, { failures, retryAt: this.#now() + wait })
    const [oldest] = this.#unwell.keys()
    if (this.#unwell.size > mostRemembered && oldest !== undefined) this.#unwell.delete(oldest)
  }
}
