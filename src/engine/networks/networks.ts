import { nowText } from '../../core/clock.ts'
import { BerthError, badRequest, notFound, notImplemented, unavailable } from '../../core/errors.ts'
import { newId } from '../../core/ids.ts'
import { macOfAddress } from '../../net/addresses.ts'
import type { Network } from '../../net/network.ts'
import type { BridgeSpec, EndpointSpec, ExpectedNetwork, Ipv4Subnet } from '../../net/types.ts'
import type { Database } from '../../store/database.ts'
import type { EndpointSettings, NetworkingConfig } from '../../wire/container.ts'
import type { ContainerRecord, NetworkAttachment } from '../containers/types.ts'
import type { Events } from '../events/events.ts'
import type { NetworkRecord } from './types.ts'

const kind = 'network'

/** Refuses what only user-defined networks can do. Errors: `bad-request` in Docker's words. */
const checkEndpoint = (name: string, { IPAMConfig: wanted, Aliases: aliases }: EndpointSettings): void => {
  const problems: string[] = []
  if (wanted?.IPv4Address || wanted?.IPv6Address)
    problems.push('user-specified IP address is supported on user-defined networks only')
  if (aliases?.length) problems.push('network-scoped aliases are only supported for user-defined networks')
  if (problems.length === 0) return
  const text = problems.length === 1 ? problems[0] : problems.map(problem => `* ${problem}`).join('\n')
  throw badRequest(`invalid config for network ${name}: invalid endpoint settings:\n${text}`)
}

/** How the default bridge is made, or that it is not. */
export interface DefaultBridge {
  link: string
  foreign: boolean
  subnet: Ipv4Subnet
  gateway: string
  /** Part of the subnet for containers (`--fixed-cidr`). */
  range?: Ipv4Subnet
  mtu: number
  /** `--ip`: where ports are published that name no address. */
  publishAddress: string
}

/** The networks of a daemon; `bridge`, `host` and `none` are always there (`bridge` not with `--bridge none`). */
export class Networks {
  readonly #network: Network
  readonly #events: Events
  readonly #byId = new Map<string, NetworkRecord>()
  readonly #defaultBridge: DefaultBridge | undefined

  private constructor(parts: { network: Network; events: Events }, defaultBridge: DefaultBridge | undefined) {
    this.#network = parts.network
    this.#events = parts.events
    this.#defaultBridge = defaultBridge
  }

  /** Reads or makes the default networks; ids stay over restarts. */
  static async open(
    parts: { database: Database; network: Network; events: Events },
    defaultBridge: DefaultBridge | undefined,
  ): Promise<Networks> {
    const { database } = parts
    const networks = new Networks(parts, defaultBridge)
    const stored = new Map(
      (await database.load(kind)).map(({ value }) => [(value as NetworkRecord).name, value as NetworkRecord]),
    )
    for (const wanted of networks.#defaults()) {
      const before = stored.get(wanted.name)
      const record = before ? { ...wanted, id: before.id, created: before.created } : wanted
      if (record.bridge) record.bridge.networkId = record.id
      networks.#byId.set(record.id, record)
      // Nothing is written where nothing changed, so that a full disk keeps no daemon from starting.
      if (JSON.stringify(record) !== JSON.stringify(before))
        await database.write([{ kind, id: record.id, value: record }], { durable: !before })
    }
    networks.#openPool()
    return networks
  }

  #defaults(): NetworkRecord[] {
    const base = { created: nowText(), labels: {}, options: {} }
    const records: NetworkRecord[] = [
      { ...base, id: newId(), name: 'host', driver: 'host' },
      { ...base, id: newId(), name: 'none', driver: 'null' },
    ]
    const wanted = this.#defaultBridge
    if (!wanted) return records
    const { link, subnet, gateway, mtu, foreign } = wanted
    const bridge: BridgeSpec = { networkId: '', link, subnet, gateway, mtu, masquerade: true, foreign }
    const options = {
      'com.docker.network.bridge.default_bridge': 'true',
      'com.docker.network.bridge.enable_icc': 'true',
      'com.docker.network.bridge.enable_ip_masquerade': 'true',
      'com.docker.network.bridge.host_binding_ipv4': wanted.publishAddress,
      'com.docker.network.bridge.name': link,
      'com.docker.network.driver.mtu': String(mtu),
    }
    return [{ ...base, id: newId(), name: 'bridge', driver: 'bridge', bridge, options }, ...records]
  }

  #openPool(): void {
    const bridge = this.find('bridge')?.bridge
    if (!bridge || !this.#defaultBridge) return
    this.#network.addresses(bridge.networkId, {
      subnet: bridge.subnet,
      range: this.#defaultBridge.range,
      reserved: [bridge.gateway],
    })
  }

  all(): NetworkRecord[] {
    return [...this.#byId.values()]
  }

  /** By name, id or unique prefix of an id. */
  find(reference: string): NetworkRecord | undefined {
    const exact = this.#byId.get(reference) ?? this.all().find(network => network.name === reference)
    if (exact || !/^[a-f0-9]+$/.test(reference)) return exact
    const matches = this.all().filter(network => network.id.startsWith(reference))
    if (matches.length > 1)
      throw new BerthError(
        'ambiguous',
        400,
        `network ${reference} is ambiguous (${matches.length} matches found on name)`,
      )
    return matches[0]
  }

  /** Errors: `not-found`. */
  get(reference: string): NetworkRecord {
    const found = this.find(reference)
    if (!found) throw notFound(`network ${reference} not found`)
    return found
  }

  /**
   * What a create asks for; only one network, as long as there are only the default ones. One that does not exist
   * yet is no error before the start.
   */
  attachmentsFor(mode: string, config: NetworkingConfig): NetworkAttachment[] {
    if (mode.startsWith('container:')) return []
    const record = this.find(mode)
    const name = record?.name ?? mode
    for (const other of Object.keys(config.EndpointsConfig ?? {})) {
      if (other === 'default' || other === name) continue
      if (!record || this.find(other)?.id !== record.id)
        throw notImplemented(`a container on several networks (${name} and ${other})`)
    }
    const wanted = config.EndpointsConfig?.[name] ?? config.EndpointsConfig?.['default'] ?? {}
    checkEndpoint(name, wanted)
    return [
      {
        networkName: name,
        networkId: record?.id ?? '',
        endpointId: '',
        aliases: [],
        mac: wanted.MacAddress ?? '',
      },
    ]
  }

  /** The network of a start; undefined for the default bridge of a daemon that has none. Errors: `not-found`. */
  #networkOf(attachment: NetworkAttachment): NetworkRecord | undefined {
    const found = this.#byId.get(attachment.networkId) ?? this.find(attachment.networkName)
    if (!found && attachment.networkName !== 'bridge')
      throw notFound(`network ${attachment.networkName} not found`)
    return found
  }

  /** Makes a container's namespace and its endpoints; on failure nothing of them is left. */
  async connectAll(record: ContainerRecord): Promise<void> {
    const [attachment] = record.networks
    if (!attachment || attachment.networkName === 'host') return
    const network = record.config.NetworkDisabled ? undefined : this.#networkOf(attachment)
    this.#network.createSandbox(record.id)
    if (!network) return
    attachment.networkId = network.id
    if (network.bridge) await this.#connect(record, attachment, network.bridge)
    attachment.endpointId = newId()
    this.#tell('connect', record, attachment)
  }

  #tell(
    action: 'connect' | 'disconnect',
    record: ContainerRecord,
    { networkId, networkName }: NetworkAttachment,
  ): void {
    const type = this.#byId.get(networkId)?.driver ?? ''
    this.#events.publish('network', action, networkId, { container: record.id, name: networkName, type })
  }

  async #connect(record: ContainerRecord, attachment: NetworkAttachment, bridge: BridgeSpec): Promise<void> {
    if (record.ports.length > 0 && !this.#network.publishes && this.#network.firewallProblem === '')
      throw unavailable(
        'ports cannot be published: this daemon was started with --iptables=false, and has nothing else to carry them',
      )
    const pool = this.#network.addresses(bridge.networkId)
    const ipv4 = pool.allocate()
    try {
      attachment.endpoint = await this.#network.connect(
        this.#endpointSpec(record, bridge, { ipv4, mac: attachment.mac }),
      )
    } catch (error) {
      pool.release(ipv4)
      this.#network.removeSandbox(record.id)
      throw error
    }
  }

  #endpointSpec(
    record: ContainerRecord,
    bridge: BridgeSpec,
    { ipv4, mac }: { ipv4: string; mac: string },
  ): EndpointSpec {
    const publish = this.#defaultBridge?.publishAddress ?? '0.0.0.0'
    return {
      containerId: record.id,
      bridge,
      interfaceName: 'eth0',
      ipv4,
      mac: mac || record.config.MacAddress || macOfAddress(ipv4),
      ports: record.ports.map(port => (port.hostIp === '0.0.0.0' ? { ...port, hostIp: publish } : port)),
    }
  }

  /** Takes down what a container has in the kernel. Idempotent. */
  async disconnectAll(record: ContainerRecord): Promise<void> {
    for (const attachment of record.networks) {
      const { endpoint } = attachment
      if (attachment.endpointId !== '') this.#tell('disconnect', record, attachment)
      attachment.endpointId = ''
      delete attachment.endpoint
      if (endpoint) await this.#network.disconnect(endpoint, { sandboxEnds: true })
    }
    this.#network.removeSandbox(record.id)
  }

  /** Brings the kernel to what these running containers need. Returns ids of containers whose endpoint is lost. */
  async reconcile(running: readonly ContainerRecord[]): Promise<string[]> {
    const expected: ExpectedNetwork = {
      bridges: this.all().flatMap(network => (network.bridge ? [network.bridge] : [])),
      endpoints: running.flatMap(record =>
        record.networks.flatMap(({ endpoint }) => (endpoint ? [endpoint] : [])),
      ),
      sandboxes: running.flatMap(record =>
        record.networks.some(({ networkName }) => networkName !== 'host') ? [record.id] : [],
      ),
    }
    for (const bridge of expected.bridges) this.#network.ensureBridge(bridge)
    const report = await this.#network.reconcile(expected)
    return report.lost.map(endpoint => endpoint.containerId)
  }

  /** Holds the ports of these containers again, after the loss of what held them. */
  async reserveAgain(running: readonly ContainerRecord[]): Promise<void> {
    await this.#network.reserveAgain(
      running.flatMap(record => record.networks.flatMap(({ endpoint }) => (endpoint ? [endpoint] : []))),
    )
  }

  /** The namespace of a container that has its own. */
  sandboxPath(id: string): string {
    return this.#network.sandboxPath(id)
  }
}
