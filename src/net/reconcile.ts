import type { Link } from '../linux/rtnetlink.ts'
import { ownerOf } from './owner.ts'
import type { Endpoint, ExpectedNetwork } from './types.ts'

/** Compares what is in the kernel with what should be there. Pure: gives a plan. */

export interface ActualNetwork {
  links: Link[]
  /** Container ids whose sandbox is pinned. */
  sandboxes: string[]
}

export interface ReconcilePlan {
  /** Bridges of ours that no network has. */
  endBridges: string[]
  /** Host-side links of ours that no endpoint has. */
  endLinks: string[]
  /** Container ids of those links: with one, their default route may have gone. */
  endedFor: string[]
  /** Container ids of sandboxes that no container has. */
  endSandboxes: string[]
  /** Endpoints whose link lost its bridge, or is down. */
  reattach: Endpoint[]
  /** Endpoints whose link is missing while the sandbox is there. */
  rewire: Endpoint[]
  /** Endpoints without a sandbox or a bridge: nothing to adopt. */
  lost: Endpoint[]
}

/** `actual` is taken after the expected bridges were ensured. */
export const planReconcile = (
  table: string,
  expected: ExpectedNetwork,
  actual: ActualNetwork,
): ReconcilePlan => {
  const plan: ReconcilePlan = {
    endBridges: [],
    endLinks: [],
    endedFor: [],
    endSandboxes: [],
    reattach: [],
    rewire: [],
    lost: [],
  }
  const links = new Map(actual.links.map(link => [link.name, link]))
  const bridges = new Map(expected.bridges.map(bridge => [bridge.networkId, links.get(bridge.link)]))
  const wantedBridges = new Set(expected.bridges.map(bridge => bridge.link))
  const wantedLinks = new Set(expected.endpoints.map(endpoint => endpoint.hostLink))
  for (const link of actual.links) {
    const owner = ownerOf(table, link)
    if (owner?.kind === 'bridge' && !wantedBridges.has(link.name)) plan.endBridges.push(link.name)
    if (owner?.kind === 'endpoint' && !wantedLinks.has(link.name)) {
      plan.endLinks.push(link.name)
      plan.endedFor.push(owner.containerId)
    }
  }
  const wantedSandboxes = new Set(expected.sandboxes)
  const pinned = new Set(actual.sandboxes)
  plan.endSandboxes = actual.sandboxes.filter(id => !wantedSandboxes.has(id))
  for (const endpoint of expected.endpoints) {
    const bridge = bridges.get(endpoint.networkId)
    const link = links.get(endpoint.hostLink)
    if (!bridge || !pinned.has(endpoint.containerId)) plan.lost.push(endpoint)
    else if (!link) plan.rewire.push(endpoint)
    else if (link.master !== bridge.index || !link.up) plan.reattach.push(endpoint)
  }
  return plan
}
