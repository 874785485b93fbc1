import { badRequest } from '../core/errors.ts'
import type { Endpoint } from './endpoint.ts'
import { troubleOf } from './failures.ts'
import { type RetryOptions, retried } from './retry.ts'

/** Asking several hosts in turn, round after round. */

/** How long an unreachable mirror is passed over. Milliseconds. */
const avoidance = 60_000

/** After a failure of this endpoint: a mirror that cannot even be spoken to is passed over for a while. */
export const avoidUnreachable = (endpoint: Endpoint, error: unknown): void => {
  if (!troubleOf(error).spoke && endpoint.host.namespace !== '')
    endpoint.avoidUntil = performance.now() + avoidance
}

const withoutScheme = (base: string): string => base.slice(base.indexOf('://'))

/**
 * Who is asked in this round. Of a host that may be spoken to with TLS and without, only the way that has worked once:
 * with TLS, the other would be a downgrade; without, the detour is spared.
 */
export const candidates = (endpoints: readonly Endpoint[], now: number): Endpoint[] => {
  const ways = endpoints.filter(
    endpoint =>
      endpoint.spoke ||
      !endpoints.some(
        other =>
          other.host.base !== endpoint.host.base &&
          other.spoke &&
          withoutScheme(other.host.base) === withoutScheme(endpoint.host.base),
      ),
  )
  const reachable = ways.filter(endpoint => endpoint.avoidUntil <= now || endpoint.host.namespace === '')
  return reachable.length > 0 ? reachable : ways
}

export const noHost = (): Error =>
  badRequest('no host of this registry may be asked for this: see capabilities in its hosts.toml')

/** One pass over the hosts: the first success, or the last error. */
const once = async <T>(
  endpoints: readonly Endpoint[],
  work: (endpoint: Endpoint) => Promise<T>,
  signal: AbortSignal,
): Promise<T> => {
  let last: unknown = noHost()
  for (const endpoint of endpoints) {
    // Its other way may have answered meanwhile.
    if (!candidates(endpoints, performance.now()).includes(endpoint)) continue
    try {
      return await work(endpoint)
    } catch (error) {
      if (signal.aborted) throw signal.reason
      avoidUnreachable(endpoint, error)
      last = error
    }
  }
  throw last
}

/** Rounds until a host succeeds. The last host's error, which is the registry's own, decides whether another follows. */
export const inRounds = <T>(
  endpoints: readonly Endpoint[],
  work: (endpoint: Endpoint) => Promise<T>,
  options: RetryOptions,
): Promise<T> => retried(() => once(candidates(endpoints, performance.now()), work, options.signal), options)
