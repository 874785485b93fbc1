import { UndoStack } from '../../core/disposal.ts'
import { notFound, unavailable } from '../../core/errors.ts'
import { newId } from '../../core/ids.ts'
import { addressesOf } from '../../net/addressBook.ts'
import { macOfAddress } from '../../net/addresses.ts'
import type { ContainerNames, NameServers } from '../../net/dns/types.ts'
import type { Network } from '../../net/network.ts'
import type { Family } from '../../net/subnets.ts'
import type {
  BridgeSpec,
  Endpoint,
  EndpointSpec,
  ExpectedNetwork,
  LinkedPort,
  SandboxOwner,
} from '../../net/types.ts'
import type { ContainerRecord, NetworkAttachment } from '../containers/types.ts'
import type { Events } from '../events/events.ts'
import { interfaceNameOf, sysctlsOf } from './attachments.ts'
import { interfacePrefixOf, publishAddressOf } from './bridgeOptions.ts'
import { chooseGateway, type Joined } from './chooseGateway.ts'
import { NameIndex } from './nameIndex.ts'
import { containerNames, hasNames, namesOf } from './names.ts'
import type { Networks } from './networks.ts'
import type { NetworkRecord } from './types.ts'

type Bridged = NetworkRecord & { bridge: BridgeSpec }

type Addresses = Pick<EndpointSpec, 'ipv4' | 'ipv6'>

export interface ConnectionsParts {
  network: Network
  networks: Networks
  events: Events
  /** Makes the name servers, which ask for the names of a container. */
  nameServers: (names: (containerId: string) => ContainerNames | undefined) => NameServers
  /** A container by name, id or prefix of an id. */
  find: (reference: string) => ContainerRecord | undefined
  /** Where names are asked that are not ours. */
  upstreams: (record: ContainerRecord) => string[]
}

/** What running containers have on networks: endpoints, ports, the way out. */
export class Connections {
  readonly #network: Network
  readonly #networks: Networks
  readonly #events: Events
  readonly #servers: NameServers
  readonly #upstreams: ConnectionsParts['upstreams']
  readonly #find: ConnectionsParts['find']
  readonly #index = new NameIndex()
  /** Ids of containers that have a name server. */
  readonly #served = new Set<string>()
  /** Container ids by network, from before a connect until after a disconnect. */
  readonly #users = new Map<string, Set<string>>()

  constructor(parts: ConnectionsParts) {
    this.#network = parts.network
    this.#networks = parts.networks
    this.#events = parts.events
    this.#upstreams = parts.upstreams
    this.#find = parts.find
    this.#servers = parts.nameServers(id => this.#namesFor(id))
  }

  #namesFor(id: string): ContainerNames | undefined {
    const record = this.#find(id)
    return (
      record &&
      containerNames(record, {
        index: this.#index,
        network: ({ networkId }) => this.#networks.find(networkId),
        idOf: reference => this.#find(reference)?.id,
        upstreams: () => this.#upstreams(record),
      })
    )
  }

  /** Its names on networks, as they are now. */
  name(record: ContainerRecord): void {
    for (const attachment of record.networks) {
      const { endpoint, networkId } = attachment
      if (!endpoint || !hasNames(attachment)) continue
      const names = namesOf(record, attachment)
      this.#index.put(networkId, { containerId: record.id, addresses: addressesOf(endpoint), names })
    }
  }

  /** Containers that are connected to a network, or just being so. */
  users(networkId: string): string[] {
    return [...(this.#users.get(networkId) ?? [])]
  }

  #enter({ id }: ContainerRecord, networkId: string): void {
    const users = this.#users.get(networkId) ?? new Set()
    this.#users.set(networkId, users.add(id))
  }

  #leave({ id }: ContainerRecord, networkId: string): void {
    const users = this.#users.get(networkId)
    users?.delete(id)
    if (users?.size === 0) this.#users.delete(networkId)
  }

  /** Undefined for the default bridge of a daemon that has none. Errors: `not-found`. */
  #resolve({ networkId, networkName }: NetworkAttachment): NetworkRecord | undefined {
    const found = (networkId && this.#networks.find(networkId)) || this.#networks.find(networkName)
    if (!found && networkName !== 'bridge') throw notFound(`network ${networkName} not found`)
    return found
  }

  #joined(record: ContainerRecord): Joined[] {
    return record.networks.flatMap(attachment => {
      const network = this.#resolve(attachment)
      return network ? [{ attachment, network }] : []
    })
  }

  /** Makes a container's namespace, which a user namespace may own, and its endpoints. What of it is there when it fails, `disconnectAll` takes away. */
  async connectAll(record: ContainerRecord, owner?: SandboxOwner): Promise<void> {
    const [first] = record.networks
    if (!first || first.networkName === 'host') return
    const joined = record.config.NetworkDisabled ? [] : this.#joined(record)
    const gateway = chooseGateway(joined)
    if (owner) await this.#network.createOwnedSandbox(record.id, owner)
    else this.#network.createSandbox(record.id)
    for (const one of joined) await this.#join(record, one, { isGateway: one === gateway })
    await this.#serveNames(record)
  }

  async #join(
    record: ContainerRecord,
    { attachment, network }: Joined,
    { isGateway }: { isGateway: boolean },
  ): Promise<void> {
    attachment.networkId = network.id
    attachment.networkName = network.name
    this.#enter(record, network.id)
    try {
      const { bridge } = network
      if (bridge)
        attachment.endpoint = await this.#connect(record, attachment, {
          network: { ...network, bridge },
          isGateway,
        })
    } catch (error) {
      this.#leave(record, network.id)
      throw error
    }
    attachment.endpointId = newId()
    this.#tell('connect', record, attachment)
  }

  #tell(
    action: 'connect' | 'disconnect',
    record: ContainerRecord,
    { networkId, networkName }: NetworkAttachment,
  ): void {
    if (record.isStep) return
    const type = this.#networks.find(networkId)?.driver ?? ''
    this.#events.publish('network', action, networkId, { container: record.id, name: networkName, type })
  }

  async #connect(
    record: ContainerRecord,
    attachment: NetworkAttachment,
    { network, isGateway }: { network: Bridged; isGateway: boolean },
  ): Promise<Endpoint> {
    this.#checkPublishing(record)
    await using undo = new UndoStack()
    const ipv4 = await this.#takeAddress(network.id, 4, { wanted: attachment.ipv4, undo })
    const ipv6 = network.bridge.ipv6
      ? await this.#takeAddress(network.id, 6, { wanted: attachment.ipv6, undo })
      : undefined
    const spec = this.#endpointSpec(record, attachment, { network, addresses: { ipv4, ipv6 }, isGateway })
    const endpoint = await this.#network.connect(spec)
    undo.commit()
    return endpoint
  }

  async #takeAddress(
    networkId: string,
    family: Family,
    { wanted, undo }: { wanted: string | undefined; undo: UndoStack },
  ): Promise<string> {
    const { addresses } = this.#network
    if (wanted) await addresses.claim(networkId, wanted)
    const pool = addresses.pool(networkId, family)
    const address = wanted ?? pool.allocate()
    undo.push('address', () => pool.release(address))
    return address
  }

  #checkPublishing(record: ContainerRecord): void {
    if (record.ports.length > 0 && !this.#network.publishes && this.#network.firewallProblem === '')
      throw unavailable(
        'ports cannot be published: this daemon was started with --iptables=false, and has nothing else to carry them',
      )
  }

  #endpointSpec(
    record: ContainerRecord,
    attachment: NetworkAttachment,
    { network, addresses, isGateway }: { network: Bridged; addresses: Addresses; isGateway: boolean },
  ): EndpointSpec {
    return {
      containerId: record.id,
      bridge: network.bridge,
      interfaceName: interfaceNameOf(attachment) || freeName(record, interfacePrefixOf(network.options)),
      ...addresses,
      mac: attachment.mac || this.#ownMac(record, attachment) || macOfAddress(addresses.ipv4),
      ports: isGateway ? this.#ports(record, network) : [],
      defaultRoute: isGateway,
      sysctls: sysctlsOf(attachment),
      ...(attachment.linkLocal ? { linkLocal: attachment.linkLocal } : {}),
    }
  }

  /** `--mac-address` is of the first network. */
  #ownMac(record: ContainerRecord, attachment: NetworkAttachment): string {
    return record.networks[0] === attachment ? (record.config.MacAddress ?? '') : ''
  }

  #ports(record: ContainerRecord, { options }: NetworkRecord) {
    const hostIp = publishAddressOf(options, this.#networks.publishAddress)
    // All of IPv4 stands for all there is.
    if (hostIp === '0.0.0.0') return record.ports
    return record.ports.map(port => (port.hostIp === '' ? { ...port, hostIp } : port))
  }

  /** Takes down what a container has in the kernel. Idempotent. */
  async disconnectAll(record: ContainerRecord): Promise<void> {
    for (const attachment of record.networks) await this.#part(record, attachment, { sandboxEnds: true })
    // Others have none, and the keeper need not be asked.
    if (this.#served.delete(record.id) || record.networks.some(hasNames)) await this.#servers.close(record.id)
    this.#network.removeSandbox(record.id)
  }

  async #part(
    record: ContainerRecord,
    attachment: NetworkAttachment,
    options: { sandboxEnds: boolean },
  ): Promise<void> {
    const { endpoint } = attachment
    if (attachment.endpointId !== '') this.#tell('disconnect', record, attachment)
    attachment.endpointId = ''
    delete attachment.endpoint
    this.#index.remove(attachment.networkId, record.id)
    if (endpoint) await this.#network.disconnect(endpoint, options)
    this.#leave(record, attachment.networkId)
  }

  /** Opens what a container's links lead to, on the default bridge where that lets nobody reach anybody. */
  link(record: ContainerRecord, linked: LinkedPort[]): void {
    const attachment = record.networks.find(({ networkName }) => networkName === 'bridge')
    const network = attachment && this.#networks.find(attachment.networkId)
    if (attachment?.endpoint && network?.bridge?.icc === false)
      this.#network.link(attachment.endpoint, linked)
  }

  /** Connects a container that runs to one more network; its way out moves where the new one comes before. */
  async join(record: ContainerRecord, attachment: NetworkAttachment): Promise<void> {
    const before = this.#joined(record)
    const network = this.#resolve(attachment)
    if (!network) throw notFound(`network ${attachment.networkName} not found`)
    const one = { attachment, network }
    await this.#join(record, one, { isGateway: false })
    record.networks.push(attachment)
    try {
      await this.#serveNames(record)
      await this.#moveGateway(record, { before, after: [...before, one] })
    } catch (error) {
      record.networks.splice(record.networks.indexOf(attachment), 1)
      await this.#part(record, attachment, { sandboxEnds: false })
      await this.#serveNames(record)
      throw error
    }
  }

  /** Takes a container that runs off a network; another one of its networks becomes the way out where this was it. */
  async part(record: ContainerRecord, attachment: NetworkAttachment): Promise<void> {
    const before = this.#joined(record)
    await this.#moveGateway(record, { before, after: before.filter(one => one.attachment !== attachment) })
    await this.#part(record, attachment, { sandboxEnds: false })
    record.networks.splice(record.networks.indexOf(attachment), 1)
    await this.#serveNames(record)
  }

  /** A name server where the container is on a network that has names, and its own names there. */
  async #serveNames(record: ContainerRecord): Promise<void> {
    this.name(record)
    const wanted = record.networks.some(attachment => attachment.endpointId !== '' && hasNames(attachment))
    if (wanted === this.#served.has(record.id)) return
    if (wanted) await this.#servers.open(record.id)
    else await this.#servers.close(record.id)
    if (wanted) this.#served.add(record.id)
    else this.#served.delete(record.id)
  }

  async #moveGateway(
    record: ContainerRecord,
    { before, after }: { before: readonly Joined[]; after: readonly Joined[] },
  ): Promise<void> {
    const from = before.find(({ attachment: { endpoint } }) => endpoint && endpoint.defaultRoute !== false)
    const to = chooseGateway(after)
    if (from === to || (from && to && from.attachment === to.attachment)) return
    const next = to && placeOf(to)
    await this.#network.moveGateway(
      from && placeOf(from),
      next && { ...next, ports: this.#ports(record, to.network) },
    )
  }

  /** Brings the kernel to what these running containers need. Returns ids of containers whose endpoint is lost. */
  async reconcile(running: readonly ContainerRecord[]): Promise<string[]> {
    const bridges = new Map(
      this.#networks.all().flatMap(({ id, bridge }) => (bridge ? [[id, bridge] as const] : [])),
    )
    const endpoints = running.flatMap(endpointsOf)
    const expected: ExpectedNetwork = {
      bridges: [...bridges.values()],
      endpoints,
      sandboxes: running.flatMap(record =>
        record.networks.some(({ networkName }) => networkName !== 'host') ? [record.id] : [],
      ),
    }
    for (const bridge of expected.bridges) this.#network.ensureBridge(bridge)
    const { lost, endedFor } = await this.#network.reconcile(expected)
    const isLost = ({ id }: ContainerRecord): boolean => lost.some(({ containerId }) => containerId === id)
    const served = running
      .filter(record => record.networks.some(hasNames) && !isLost(record))
      .map(({ id }) => id)
    await this.#servers.adopt(served)
    for (const id of served) this.#served.add(id)
    for (const record of running) {
      this.name(record)
      for (const { networkId, endpointId } of record.networks)
        if (endpointId !== '') this.#enter(record, networkId)
      const mayHaveMoved = endpointsOf(record).length > 1 || endedFor.includes(record.id)
      if (mayHaveMoved && !isLost(record)) this.#ensureGateway(record, bridges)
    }
    return lost.map(({ containerId }) => containerId)
  }

  /** A change of the way out that a death cut off is undone. */
  #ensureGateway(record: ContainerRecord, bridges: ReadonlyMap<string, BridgeSpec>): void {
    const gateway = endpointsOf(record).find(endpoint => endpoint.defaultRoute ?? true)
    const bridge = gateway && bridges.get(gateway.networkId)
    if (bridge && !bridge.internal) this.#network.ensureGateway(gateway, bridge)
  }

  /** Holds the ports of these containers again, after the loss of what held them. */
  async reserveAgain(running: readonly ContainerRecord[]): Promise<void> {
    await this.#network.reserveAgain(running.flatMap(endpointsOf))
    await this.#servers.keepAgain()
  }

  /** Closes what this process has of the name servers; the kernel's side stays. */
  async close(): Promise<void> {
    await this.#servers[Symbol.asyncDispose]()
  }

  /** The user namespace of a container that has its own. */
  userNamespacePath(id: string): string {
    return this.#network.userNamespacePath(id)
  }

  /** The namespace of a container that has its own. */
  sandboxPath(id: string): string {
    return this.#network.sandboxPath(id)
  }
}

const placeOf = ({ attachment, network }: Joined): { endpoint: Endpoint; bridge: BridgeSpec } | undefined => {
  const { endpoint } = attachment
  const { bridge } = network
  return endpoint && bridge ? { endpoint, bridge } : undefined
}

const endpointsOf = (record: ContainerRecord): Endpoint[] =>
  record.networks.flatMap(({ endpoint }) => (endpoint ? [endpoint] : []))

/** The first number that no interface of the container has. */
const freeName = (record: ContainerRecord, prefix: string): string => {
  const taken = new Set(endpointsOf(record).map(({ interfaceName }) => interfaceName))
  for (let number = 0; ; number++) if (!taken.has(`${prefix}${number}`)) return `${prefix}${number}`
}
