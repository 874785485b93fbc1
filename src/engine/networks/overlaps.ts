import { formatCidr, overlaps } from '../../net/subnets.ts'
import type { HostRoute } from '../../net/types.ts'
import type { Engine } from '../engine.ts'
import { type NetworkRecord, subnetsOf } from './types.ts'

/**
 * Subnets that a route of the host overlaps with. New subnets keep clear of all routes; one that was asked for, or
 * a route that came later (a VPN's), may overlap, and then one of both is not reached.
 */

/** One line each, of these networks. */
export const overlapsOf = (
  networks: readonly Pick<NetworkRecord, 'name' | 'bridge'>[],
  routes: readonly HostRoute[],
): string[] =>
  networks.flatMap(({ name, bridge }) =>
    routes
      .filter(
        route =>
          route.prefix > 0 &&
          route.link !== bridge?.link &&
          subnetsOf({ bridge }).some(subnet => overlaps(subnet, route)),
      )
      .map(
        route =>
          `network ${name} (${subnetsOf({ bridge }).map(formatCidr).join(', ')}) overlaps with the host's route to ${formatCidr(route)} by ${route.link}: what is behind that route may not be reached; make the network anew with another --subnet`,
      ),
  )

/** Of all networks as they are now. */
export const currentOverlaps = ({ networks, network }: Pick<Engine, 'networks' | 'network'>): string[] =>
  overlapsOf(networks.all(), network.namedRoutes())

/** Says now, and whenever routes come, what overlaps: each once, until it is no more so. */
export const watchOverlaps = (engine: Pick<Engine, 'networks' | 'network' | 'log'>): void => {
  let told = new Set<string>()
  const tell = (): void => {
    const now = currentOverlaps(engine)
    for (const text of now) if (!told.has(text)) engine.log.warn(text)
    told = new Set(now)
  }
  engine.network.onRoutes(tell)
  tell()
}
