import type { Nftables } from '../../linux/nftables.ts'
import type { BridgeSpec, Endpoint } from '../types.ts'
import { compareElements, type ElementChanges, readElements } from './listing.ts'
import {
  addElements,
  bridgeElements,
  deleteElements,
  type Element,
  endpointElements,
  flushBatch,
  linkElements,
  rebuildBatch,
  rulesBatch,
} from './rules.ts'

/** Brings the rules into the kernel: one table, every change one transaction. */

export interface FirewallState {
  bridges: BridgeSpec[]
  endpoints: Endpoint[]
  /** This daemon turned forwarding on. */
  dropForeign: boolean
}

const joined = (...batches: string[]): string => batches.filter(batch => batch !== '').join('\n')

export class Firewall {
  readonly #nft: Nftables
  readonly #table: string

  constructor(nft: Nftables, table: string) {
    this.#nft = nft
    this.#table = `inet ${table}`
  }

  #elements(): Element[] | undefined {
    try {
      return readElements(this.#nft.list(`list table ${this.#table}`))
    } catch {
      return undefined
    }
  }

  /**
   * Makes rules and elements what they should be, at a start: completes what
   * is there, without a moment in which a published port is missing; builds
   * anew in one step where an older layout cannot be completed.
   */
  ensure({ bridges, endpoints, dropForeign }: FirewallState): ElementChanges {
    const expected = [...bridges.flatMap(bridgeElements), ...endpoints.flatMap(endpointElements)]
    const changes = compareElements(expected, this.#elements() ?? [])
    const { missing, extra } = changes
    try {
      this.#nft.run(
        joined(
          rulesBatch(this.#table, dropForeign),
          deleteElements(this.#table, extra),
          addElements(this.#table, missing),
        ),
      )
      return changes
    } catch {
      this.#nft.run(joined(rebuildBatch(this.#table, dropForeign), addElements(this.#table, expected)))
      return { missing: expected, extra: [] }
    }
  }

  /** The rules alone, elements as they are. */
  ensureRules(dropForeign: boolean): void {
    this.#nft.run(rulesBatch(this.#table, dropForeign))
  }

  addBridge(bridge: BridgeSpec): void {
    this.#nft.run(addElements(this.#table, bridgeElements(bridge)))
  }

  removeBridge(bridge: BridgeSpec): void {
    this.#remove(bridgeElements(bridge))
  }

  /** Publishes the ports of an endpoint: all or none. */
  addEndpoint(endpoint: Endpoint): void {
    const elements = endpointElements(endpoint)
    if (elements.length > 0) this.#nft.run(addElements(this.#table, elements))
  }

  removeEndpoint(endpoint: Endpoint): void {
    this.#remove(endpointElements(endpoint))
  }

  /** Has an endpoint reach what `after` links to, and no more what only `before` did. */
  changeLinks(before: Endpoint, after: Endpoint): void {
    const { missing, extra } = compareElements(linkElements(after), linkElements(before))
    this.#remove(extra)
    if (missing.length > 0) this.#nft.run(addElements(this.#table, missing))
  }

  /** What is absent already, or is another's by now, is left out. */
  #remove(elements: Element[]): void {
    if (elements.length === 0) return
    try {
      this.#nft.run(deleteElements(this.#table, elements))
    } catch {
      const { missing } = compareElements(elements, this.#elements() ?? [])
      const gone = new Set(missing)
      const present = elements.filter(element => !gone.has(element))
      if (present.length > 0) this.#nft.run(deleteElements(this.#table, present))
    }
  }

  /** Takes everything of ours away. */
  flush(): void {
    this.#nft.run(flushBatch(this.#table))
  }
}
