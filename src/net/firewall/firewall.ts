import { messageOf, unavailable } from '../../core/errors.ts'
import type { Nftables } from '../../linux/nftables.ts'
import type { Family } from '../subnets.ts'
import type { BridgeSpec, Detour, Endpoint, FirewallSettings, PublishedPort } from '../types.ts'
import {
  addElements,
  bridgeElements,
  deleteElements,
  type Element,
  type ElementOptions,
  endpointElements,
  linkElements,
} from './elements.ts'
import { compareElements, type ElementChanges, readElements } from './listing.ts'
import {
  askingProbe,
  flushBatch,
  type RuleSettings,
  rebuildBatch,
  rulesBatch,
  unaskedBatch,
} from './rules.ts'

/** Brings the rules into the kernel: every change one transaction. */

export interface FirewallState {
  bridges: BridgeSpec[]
  endpoints: Endpoint[]
  /** Families whose forwarding this daemon turned on. */
  dropForeign: readonly Family[]
}

const joined = (...batches: string[]): string => batches.filter(batch => batch !== '').join('\n')

export class Firewall {
  readonly #nft: Nftables
  readonly #settings: FirewallSettings
  readonly #table: string
  readonly #asking: Detour | undefined
  readonly #options: ElementOptions
  /** What was last made true, so that it can be made again. */
  readonly #bridges = new Map<string, BridgeSpec>()
  readonly #endpoints = new Map<string, Endpoint>()
  #dropForeign: readonly Family[] = []

  /** `asking`: the host's INPUT is asked (firewall mode `host`). Errors: `unavailable` where this kernel cannot. */
  constructor(nft: Nftables, settings: FirewallSettings, asking?: Detour) {
    this.#nft = nft
    this.#settings = settings
    this.#table = settings.table
    this.#asking = asking
    this.#options = {
      asks: asking !== undefined,
      direct: settings.directRouting === true,
      ipv6: settings.ipv6 !== false,
    }
    if (asking) this.#probe()
  }

  /** Whether ports can be published for IPv6, too. */
  get publishesIpv6(): boolean {
    return this.#options.ipv6 && !this.#options.asks
  }

  #probe(): void {
    try {
      this.#nft.run(askingProbe(this.#table))
    } catch (error) {
      throw unavailable(
        `firewall mode host cannot be had: it needs the kernel's module nft_dup_ipv4 (${messageOf(error)}): install a kernel that has it, or use --firewall-mode=open`,
      )
    }
  }

  #rules(dropForeign: readonly Family[]): RuleSettings {
    const { directRouting = false, acceptMark, ipv6 = true } = this.#settings
    return { table: this.#table, dropForeign, ipv6, asking: this.#asking, directRouting, acceptMark }
  }

  #elements(): Element[] {
    const families = this.#asking ? ['inet', 'ip'] : ['inet']
    return families.flatMap(family => {
      try {
        return readElements(this.#nft.list(`list table ${family} ${this.#table}`))
      } catch {
        return []
      }
    })
  }

  #expected({ bridges, endpoints }: FirewallState): Element[] {
    return [
      ...bridges.flatMap(bridge => bridgeElements(bridge, this.#options)),
      ...endpoints.flatMap(endpoint => endpointElements(endpoint, this.#options)),
    ]
  }

  /**
   * Makes rules and elements what they should be, at a start: completes what
   * is there, without a moment in which a published port is missing; builds
   * anew in one step where an older layout cannot be completed.
   */
  ensure(state: FirewallState): ElementChanges {
    const expected = this.#expected(state)
    const changes = compareElements(expected, this.#elements())
    const { missing, extra } = changes
    const rules = this.#rules(state.dropForeign)
    this.#rememberAll(state)
    try {
      this.#nft.run(
        joined(
          this.#asking ? '' : unaskedBatch(this.#table),
          rulesBatch(rules),
          deleteElements(this.#table, extra),
          addElements(this.#table, missing),
        ),
      )
      return changes
    } catch {
      this.#nft.run(joined(rebuildBatch(rules), addElements(this.#table, expected)))
      return { missing: expected, extra: [] }
    }
  }

  #remember(endpoint: Endpoint): void {
    this.#endpoints.set(endpoint.hostLink, { ...endpoint })
  }

  #rememberAll({ bridges, endpoints, dropForeign }: FirewallState): void {
    this.#dropForeign = dropForeign
    this.#bridges.clear()
    this.#endpoints.clear()
    for (const bridge of bridges) this.#bridges.set(bridge.networkId, bridge)
    for (const endpoint of endpoints) this.#remember(endpoint)
  }

  /** After another program changed something of it: all as it was. */
  restore(): ElementChanges {
    return this.ensure({
      bridges: [...this.#bridges.values()],
      endpoints: [...this.#endpoints.values()],
      dropForeign: this.#dropForeign,
    })
  }

  /** A batch in tables of others. */
  runForeign(batch: string): void {
    this.#nft.run(batch)
  }

  /** Link names of the bridges. */
  get bridges(): string[] {
    return [...this.#bridges.values()].map(({ link }) => link)
  }

  /** Ports that are translated. */
  get published(): PublishedPort[] {
    return [...this.#endpoints.values()].flatMap(({ published }) => published)
  }

  /** Adds; where that fails since another program took the table away, once more after it is made again. */
  #add(elements: Element[]): void {
    try {
      this.#nft.run(addElements(this.#table, elements))
    } catch {
      this.restore()
    }
  }

  /** The rules alone, elements as they are. */
  ensureRules(dropForeign: readonly Family[]): void {
    this.#dropForeign = dropForeign
    this.#nft.run(rulesBatch(this.#rules(dropForeign)))
  }

  addBridge(bridge: BridgeSpec): void {
    this.#bridges.set(bridge.networkId, bridge)
    this.#add(bridgeElements(bridge, this.#options))
  }

  removeBridge(bridge: BridgeSpec): void {
    this.#bridges.delete(bridge.networkId)
    this.#remove(bridgeElements(bridge, this.#options))
  }

  /** Publishes the ports of an endpoint: all or none. */
  addEndpoint(endpoint: Endpoint): void {
    const elements = endpointElements(endpoint, this.#options)
    if (elements.length === 0) return
    this.#remember(endpoint)
    this.#add(elements)
  }

  removeEndpoint(endpoint: Endpoint): void {
    this.#endpoints.delete(endpoint.hostLink)
    this.#remove(endpointElements(endpoint, this.#options))
  }

  /** Has an endpoint reach what `after` links to, and no more what only `before` did. */
  changeLinks(before: Endpoint, after: Endpoint): void {
    const { missing, extra } = compareElements(linkElements(after), linkElements(before))
    this.#remember(after)
    this.#remove(extra)
    if (missing.length > 0) this.#add(missing)
  }

  /** What is absent already, or is another's by now, is left out. */
  #remove(elements: Element[]): void {
    if (elements.length === 0) return
    try {
      this.#nft.run(deleteElements(this.#table, elements))
    } catch {
      const { missing } = compareElements(elements, this.#elements())
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
