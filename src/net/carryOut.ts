import { messageOf } from '../core/errors.ts'
import { findLink, setLink } from '../linux/rtnetlink.ts'
import { removeBridge } from './bridge.ts'
import { type EndpointPlace, removePair, wire } from './endpoint.ts'
import type { ReconcilePlan } from './reconcile.ts'
import type { Sandboxes } from './sandboxes.ts'
import type { BridgeSpec, Endpoint } from './types.ts'

/** Does what a start of the daemon found to be done (reconcile.ts). */

interface Work {
  plan: ReconcilePlan
  bridges: BridgeSpec[]
  sandboxes: Sandboxes
}

/** One line for each change. */
export const carryOut = async (
  place: EndpointPlace,
  { plan, bridges, sandboxes }: Work,
): Promise<string[]> => {
  const changes: string[] = []
  const byNetwork = new Map(bridges.map(bridge => [bridge.networkId, bridge]))
  for (const id of plan.endSandboxes) {
    sandboxes.remove(id)
    changes.push(`removed sandbox ${id}`)
  }
  for (const name of plan.endLinks) {
    removePair(place, name)
    changes.push(`removed link ${name}`)
  }
  for (const name of plan.endBridges) {
    removeBridge({ socket: place.routes, table: place.table }, name)
    changes.push(`removed bridge ${name}`)
  }
  for (const endpoint of plan.reattach) {
    const bridge = byNetwork.get(endpoint.networkId)
    if (bridge) changes.push(reattach(place, endpoint, bridge))
  }
  for (const endpoint of plan.rewire) {
    const bridge = byNetwork.get(endpoint.networkId)
    if (bridge) changes.push(await rewire(place, endpoint, bridge))
  }
  return changes
}

const reattach = ({ routes }: EndpointPlace, { hostLink }: Endpoint, bridge: BridgeSpec): string => {
  const master = findLink(routes, bridge.link)?.index ?? 0
  routes.batch([setLink(hostLink, { master, up: true })])
  return `attached ${hostLink} to ${bridge.link} again`
}

const rewire = async (place: EndpointPlace, endpoint: Endpoint, bridge: BridgeSpec): Promise<string> => {
  try {
    await wire(place, {
      ...endpoint,
      bridge,
      defaultRoute: endpoint.defaultRoute ?? true,
      publishes: endpoint.published.length > 0,
    })
    return `made ${endpoint.hostLink} again`
  } catch (error) {
    return `cannot make ${endpoint.hostLink} again: ${messageOf(error)}`
  }
}
