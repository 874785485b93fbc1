import fs from 'node:fs'
import path from 'node:path'
import { unavailable } from '../core/errors.ts'
import { failpoint } from '../core/failpoint.ts'
import { familyNumbers } from '../linux/ipBytes.ts'
import { prepareNamespaces } from '../linux/namespace.ts'
import type { NamespaceHelper } from '../linux/namespaceHelper.ts'
import { NetlinkSocket, protocols } from '../linux/netlink.ts'
import { type Nftables, openNftables } from '../linux/nftables.ts'
import { findLink, listLinks } from '../linux/rtnetlink.ts'
import { listRoutes, type Route } from '../linux/rtnetlink-routes.ts'
import { AddressBook } from './addressBook.ts'
import { allowLoopbackPublishing, ensureBridge, removeBridge } from './bridge.ts'
import { carryOut } from './carryOut.ts'
import { detourOf, ensureDetour, removeDetour } from './detour.ts'
import { connect, disconnect, type EndpointPlace, endpointStats, setGateway } from './endpoint.ts'
import { Firewall } from './firewall/firewall.ts'
import { forgetUntranslatedFlows } from './flows.ts'
import { Forwarding } from './forwarding.ts'
import { type Gateway, moveGateway, type NextGateway } from './gateway.ts'
import { RuleGuard } from './guard.ts'
import { NetlinkWatch } from './netlink-watch.ts'
import { ownerOf } from './owner.ts'
import type { PortRange } from './port-table.ts'
import { PortAllocator } from './ports.ts'
import { planReconcile } from './reconcile.ts'
import { Sandboxes } from './sandboxes.ts'
import type { Family } from './subnets.ts'
import type {
  BridgeSpec,
  Detour,
  Endpoint,
  EndpointSpec,
  EndpointStats,
  ExpectedNetwork,
  FirewallSettings,
  HostRoute,
  LinkedPort,
  PortKeeper,
  ReconcileReport,
  SandboxOwner,
  Subnet,
} from './types.ts'

export interface NetworkOptions {
  /** Sandboxes are pinned below `<execRoot>/netns`, their owners below `<execRoot>/userns`, notes kept below `<execRoot>/net`. */
  execRoot: string
  /** Enters user namespaces; absent where no sandbox is to be owned by one. */
  namespaceHelper?: NamespaceHelper
  firewall: FirewallSettings
  /** Turn the host's ip_forward on when the first bridge needs it (`--ip-forward`). */
  ipForward: boolean
  keeper: PortKeeper
  /** Make our rules again where another program changes them, and warn of rules of others that stop containers. */
  guard?: boolean
  /** Name of a container, for messages. */
  containerName?: (containerId: string) => string | undefined
  /** Something that works less well than it should, in one line. */
  onWarning?: (text: string) => void
}

const ephemeralRange = (): PortRange | undefined => {
  try {
    const text = fs.readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8')
    const [first, last] = text.trim().split(/\s+/).map(Number)
    return first && last && first < last ? { first, last } : undefined
  } catch {
    return undefined
  }
}

const openFirewall = ({ firewall }: NetworkOptions): { nft?: Nftables; reason: string } => {
  if (!firewall.enabled) return { reason: '' }
  const access = openNftables()
  return access.available ? { nft: access.nft, reason: '' } : { reason: access.reason }
}

/**
 * Networking of one daemon: what the engine calls. After `open`, `reconcile`
 * once with what should be there; then the rest, in any order for different
 * containers, in turn for one.
 */
export class Network implements AsyncDisposable {
  readonly #options: NetworkOptions
  readonly #routes = new NetlinkSocket(protocols.route)
  readonly #flows = new NetlinkSocket(protocols.netfilter)
  readonly #watch: NetlinkWatch
  readonly #forwarding: readonly [ipv4: Forwarding, ipv6: Forwarding]
  readonly #place: EndpointPlace
  readonly #nft: Nftables | undefined
  readonly addresses: AddressBook
  readonly #sandboxes: Sandboxes
  readonly #detour: Detour
  readonly #guard: RuleGuard | undefined
  #detourIsWatched = false
  #removing = false
  /** Why there is no firewall; empty where there is one, or none was wanted. */
  readonly firewallProblem: string

  private constructor(options: NetworkOptions) {
    this.#options = options
    this.#sandboxes = new Sandboxes({
      folder: path.join(options.execRoot, 'netns'),
      userFolder: path.join(options.execRoot, 'userns'),
      helper: options.namespaceHelper,
    })
    const notes = path.join(options.execRoot, 'net')
    this.#forwarding = [new Forwarding(notes, 4), new Forwarding(notes, 6)]
    const { nft, reason } = openFirewall(options)
    this.#nft = nft
    this.firewallProblem = reason
    if (reason !== '') options.onWarning?.(`no firewall, so no published ports: ${reason}`)
    const { table, mode } = options.firewall
    this.#detour = detourOf(table)
    const ephemeral = ephemeralRange()
    this.#place = {
      routes: this.#routes,
      flows: this.#flows,
      firewall: nft && new Firewall(nft, options.firewall, mode === 'host' ? this.#detour : undefined),
      ports: new PortAllocator({
        keeper: options.keeper,
        containerName: options.containerName,
        ...(ephemeral ? { ephemeral } : {}),
      }),
      table,
      sandbox: containerId => this.sandboxPath(containerId),
    }
    this.#guard = this.#makeGuard()
    this.#watch = new NetlinkWatch(this.#routes, this.#guard)
    this.addresses = new AddressBook(link => this.#watch.gone(link))
  }

  #makeGuard(): RuleGuard | undefined {
    const { firewall, table } = this.#place
    const { guard = false, onWarning = () => {} } = this.#options
    if (!firewall || !guard) return undefined
    const restore = (): void => {
      this.#ensureDetour()
      firewall.restore()
      failpoint('net.guard.restored')
      forgetUntranslatedFlows(this.#place, firewall.published)
    }
    const accept = this.#options.firewall.acceptForeign === true
    return new RuleGuard({ firewall, table, restore, onWarning, accept })
  }

  /** Which rules of other programs stop our containers, and what to do: a sentence each. */
  get blocks(): string[] {
    return this.#guard?.blocks ?? []
  }

  /** Opens sockets and libraries; changes nothing in the kernel but the pin folder's own mount. */
  static async open(options: NetworkOptions): Promise<Network> {
    await prepareNamespaces()
    return new Network(options)
  }

  #listRoutes(): Route[] {
    return familyNumbers.flatMap(family => listRoutes(this.#routes, family))
  }

  /** Destinations of the host's routes: what a new subnet must not overlap. */
  hostRoutes(): Subnet[] {
    return this.#listRoutes().map(({ address, prefix }) => ({ address, prefix }))
  }

  /** The host's routes with the interfaces that they go by. */
  namedRoutes(): HostRoute[] {
    const names = new Map(listLinks(this.#routes).map(({ index, name }) => [index, name]))
    return this.#listRoutes().map(({ address, prefix, link }) => ({
      ...{ address, prefix },
      link: names.get(link) ?? '',
    }))
  }

  /** From now on, `listener` is called when routes of the host were added. */
  onRoutes(listener: () => void): void {
    this.#watch.onRoutes(listener)
  }

  /** Makes a bridge or completes it, with its firewall elements, and turns forwarding on where that is wanted. */
  ensureBridge(spec: BridgeSpec): void {
    const { firewall } = this.#place
    this.#ensureDetour()
    firewall?.ensureRules(this.#dropForeign)
    firewall?.addBridge(spec)
    failpoint('net.bridge.firewall')
    this.#ensureBridgeLink(spec)
    if (this.#options.ipForward) this.#turnForwardingOn([spec])
    this.#guard?.look()
  }

  /** Where this daemon turned forwarding on, the host does not become a router for others, unless that is wanted. */
  get #dropForeign(): Family[] {
    if (this.#options.firewall.keepForwarding === true) return []
    return this.#forwarding.filter(({ ours }) => ours).map(({ family }) => family)
  }

  #turnForwardingOn(bridges: readonly BridgeSpec[]): void {
    const [ipv4, ipv6] = this.#forwarding
    const protect = (): void => this.#place.firewall?.ensureRules(this.#dropForeign)
    if (bridges.length > 0) ipv4.turnOn(protect)
    if (bridges.some(bridge => bridge.ipv6)) ipv6.turnOn(protect)
  }

  #ensureBridgeLink(spec: BridgeSpec): void {
    ensureBridge(this.#linkPlace(), spec)
    if (this.#place.firewall) allowLoopbackPublishing(spec.link)
  }

  #linkPlace() {
    return { socket: this.#routes, table: this.#options.firewall.table }
  }

  /** Removes a network's bridge and its elements; its endpoints must be gone. */
  removeBridge(spec: BridgeSpec): void {
    if (!spec.foreign) removeBridge(this.#linkPlace(), spec.link)
    failpoint('net.bridge.removed')
    this.#place.firewall?.removeBridge(spec)
    this.#guard?.look()
    this.addresses.forget(spec.networkId)
  }

  sandboxPath(containerId: string): string {
    return this.#sandboxes.path(containerId)
  }

  /** Makes a container's namespace, loopback up; gives the file that pins it. */
  createSandbox(containerId: string): string {
    return this.#sandboxes.create(containerId)
  }

  /** The same, owned by a user namespace. */
  createOwnedSandbox(containerId: string, owner: SandboxOwner): Promise<string> {
    return this.#sandboxes.createOwned(containerId, owner)
  }

  /** The file that pins a container's own user namespace, where it has one. */
  userNamespacePath(containerId: string): string {
    return this.#sandboxes.userPath(containerId)
  }

  /** Lets go of a container's namespaces; absent is no error. */
  removeSandbox(containerId: string): void {
    this.#sandboxes.remove(containerId)
  }

  /** Whether ports can be published at all: not without a firewall, which carries them. */
  get publishes(): boolean {
    return this.#place.firewall !== undefined
  }

  /** A link of this name is there, ours or another's. */
  hasLink(name: string): boolean {
    return findLink(this.#routes, name) !== undefined
  }

  /** Connects a sandbox to a bridge; see `connect` in endpoint.ts. */
  async connect(spec: EndpointSpec): Promise<Endpoint> {
    if (spec.ports.length > 0 && this.firewallProblem !== '') {
      throw unavailable(`ports cannot be published: ${this.firewallProblem}`)
    }
    return connect(this.#place, spec)
  }

  /**
   * Takes an endpoint apart. Its address returns to the pool once its link is
   * gone: with `sandboxEnds` (the usual case) some time after `removeSandbox`.
   */
  async disconnect(endpoint: Endpoint, { sandboxEnds }: { sandboxEnds: boolean }): Promise<void> {
    await disconnect(this.#place, endpoint, { deleteLink: !sandboxEnds })
    this.addresses.releaseLater(endpoint)
  }

  /** Moves the way out of a sandbox from one endpoint to another; see `moveGateway` in gateway.ts. */
  async moveGateway(from: Gateway | undefined, to: NextGateway | undefined): Promise<void> {
    await moveGateway(this.#place, from, to)
  }

  /** Has an endpoint on a bridge without `icc` reach these ports of others, and no longer those it did. */
  link(endpoint: Endpoint, linked: LinkedPort[]): void {
    this.#place.firewall?.changeLinks(endpoint, { ...endpoint, linked })
    endpoint.linked = linked
  }

  /** Has the default route of a sandbox go by this endpoint, as its record says. */
  ensureGateway(endpoint: Endpoint, bridge: BridgeSpec): void {
    setGateway(this.#place, endpoint, bridge)
  }

  /** Resolves once the link of an endpoint is gone. */
  async linkGone({ hostLink }: Pick<Endpoint, 'hostLink'>): Promise<void> {
    await this.#watch.gone(hostLink)
  }

  stats({ containerId, interfaceName }: Endpoint): EndpointStats {
    return endpointStats(this.sandboxPath(containerId), interfaceName)
  }

  /**
   * At a start: adopts what should be there without touching its traffic,
   * repairs what is broken, takes away what is nobody's. Pools that exist
   * already learn the addresses in use.
   */
  async reconcile(expected: ExpectedNetwork): Promise<ReconcileReport> {
    const changes: string[] = []
    this.#ensureDetour()
    const { firewall } = this.#place
    if (firewall) {
      const { bridges, endpoints } = expected
      const { missing, extra } = firewall.ensure({ bridges, endpoints, dropForeign: this.#dropForeign })
      // What came while they were missing would stay untranslated.
      if (missing.length > 0) forgetUntranslatedFlows(this.#place, firewall.published)
      changes.push(...missing.map(element => `added ${element.set} ${element.key}`))
      changes.push(...extra.map(element => `removed ${element.set} ${element.key}`))
    }
    failpoint('net.reconcile.firewall')
    if (this.#asks) this.#watchDetour()
    else removeDetour(this.#linkPlace(), this.#detour)
    for (const bridge of expected.bridges) this.#ensureBridgeLink(bridge)
    if (this.#options.ipForward) this.#turnForwardingOn(expected.bridges)
    const actual = { links: listLinks(this.#routes), sandboxes: this.#sandboxes.pinned() }
    const plan = planReconcile(this.#options.firewall.table, expected, actual)
    changes.push(
      ...(await carryOut(this.#place, { plan, bridges: expected.bridges, sandboxes: this.#sandboxes })),
    )
    for (const endpoint of plan.lost) firewall?.removeEndpoint(endpoint)
    const alive = expected.endpoints.filter(endpoint => !plan.lost.includes(endpoint))
    for (const endpoint of alive) this.addresses.adopt(endpoint)
    changes.push(...(await this.#place.ports.adopt(alive)))
    this.#guard?.begin()
    return { changes, endedFor: plan.endedFor, lost: plan.lost }
  }

  /** What firewall mode `host` needs before its rules, which name a link. */
  #ensureDetour(): void {
    if (this.#asks) ensureDetour(this.#linkPlace(), this.#detour)
  }

  /** Has it made again where somebody deletes it. */
  #watchDetour(): void {
    if (!this.#guard || this.#detourIsWatched) return
    this.#detourIsWatched = true
    void this.#watch.gone(this.#detour.ask).then(gone => {
      this.#detourIsWatched = false
      if (!gone || this.#removing) return
      this.#guard?.lost(this.#detour.ask)
      this.#watchDetour()
    })
  }

  get #asks(): boolean {
    return this.#place.firewall !== undefined && this.#options.firewall.mode === 'host'
  }

  /** After the loss of the keeper: holds the ports of these endpoints again where that is possible. */
  async reserveAgain(endpoints: readonly Endpoint[]): Promise<void> {
    await this.#place.ports.reserveAgain(endpoints)
  }

  /** Takes away everything this daemon has in the kernel; forwarding too, where no other bridge may need it. */
  async removeAll(): Promise<void> {
    this.#removing = true
    await this.reconcile({ bridges: [], endpoints: [], sandboxes: [] })
    this.#place.firewall?.flush()
    removeDetour(this.#linkPlace(), this.#detour)
    const { table } = this.#options.firewall
    const others = listLinks(this.#routes).some(link => link.kind === 'bridge' && !ownerOf(table, link))
    for (const forwarding of this.#forwarding) forwarding.giveBack(others)
    this.#sandboxes.removeFolder()
  }

  /** Closes sockets and the watch; nothing in the kernel changes. */
  async close(): Promise<void> {
    await this.#watch.close()
    this.#nft?.close()
    this.#routes.close()
    this.#flows.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
