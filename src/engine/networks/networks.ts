import { nowText } from '../../core/clock.ts'
import { BerthError, notFound } from '../../core/errors.ts'
import { newId } from '../../core/ids.ts'
import type { Network } from '../../net/network.ts'
import { type Family, formatCidr, parseCidr, type SubnetPool } from '../../net/subnets.ts'
import { type BridgeSpec, ordinaryBridge, ordinaryExit, type Subnet } from '../../net/types.ts'
import type { Database } from '../../store/database.ts'
import type { IpamConfig } from '../../wire/network.ts'
import { defaultGatewayKeys, type NetworkRecord } from './types.ts'

const kind = 'network'

type Side = NonNullable<DefaultBridge['ipv6']>

const withoutRange = ({ range: _, ...side }: Side): Omit<Side, 'range'> => side

const configOf = ({ subnet, gateway, defaultGateway }: Side, family: Family): IpamConfig => ({
  Subnet: formatCidr(subnet),
  Gateway: gateway,
  ...(defaultGateway ? { AuxiliaryAddresses: { [defaultGatewayKeys[family]]: defaultGateway } } : {}),
})

/** How the default bridge is made, or that it is not. */
export interface DefaultBridge {
  link: string
  foreign: boolean
  subnet: Subnet
  gateway: string
  /** Part of the subnet for containers (`--fixed-cidr`). */
  range?: Subnet
  mtu: number
  icc: boolean
  masquerade: boolean
  /** `--default-gateway`: the containers' way out that is not the bridge. */
  defaultGateway?: string
  /** With `--ipv6`. */
  ipv6?: { subnet: Subnet; gateway: string; range?: Subnet; defaultGateway?: string }
  /** `--ip`: where ports are published that name no address. */
  publishAddress: string
}

export interface NetworksParts {
  database: Database
  network: Network
  pools: SubnetPool[]
}

/** The records of all networks; `bridge`, `host` and `none` are always there (`bridge` not with `--bridge none`). */
export class Networks {
  readonly #database: Database
  readonly #network: Network
  readonly #byId = new Map<string, NetworkRecord>()
  readonly #defaultBridge: DefaultBridge | undefined
  /** Where the subnets of new networks come from. */
  readonly pools: SubnetPool[]

  private constructor(parts: NetworksParts, defaultBridge: DefaultBridge | undefined) {
    this.pools = parts.pools
    this.#database = parts.database
    this.#network = parts.network
    this.#defaultBridge = defaultBridge
  }

  /** Reads the records, and makes those of the default networks; ids stay over restarts. */
  static async open(parts: NetworksParts, defaultBridge: DefaultBridge | undefined): Promise<Networks> {
    const networks = new Networks(parts, defaultBridge)
    const stored = new Map(
      (await parts.database.load(kind)).map(({ value }) => [
        (value as NetworkRecord).name,
        value as NetworkRecord,
      ]),
    )
    for (const wanted of networks.#defaults()) {
      const before = stored.get(wanted.name)
      stored.delete(wanted.name)
      const record = before ? { ...wanted, id: before.id, created: before.created } : wanted
      if (record.bridge) record.bridge.networkId = record.id
      networks.#byId.set(record.id, record)
      // Nothing is written where nothing changed, so that a full disk keeps no daemon from starting.
      if (JSON.stringify(record) !== JSON.stringify(before)) await networks.#write(record, !before)
    }
    // Of a daemon that had a default bridge, and is now without one.
    stored.delete('bridge')
    for (const record of stored.values()) networks.#byId.set(record.id, record)
    for (const record of networks.all()) networks.#openPool(record)
    return networks
  }

  async #write(record: NetworkRecord, durable: boolean): Promise<void> {
    await this.#database.write([{ kind, id: record.id, value: record }], { durable })
  }

  #defaults(): NetworkRecord[] {
    const base = { created: nowText(), labels: {}, options: {} }
    const records: NetworkRecord[] = [
      { ...base, id: newId(), name: 'host', driver: 'host' },
      { ...base, id: newId(), name: 'none', driver: 'null' },
    ]
    const wanted = this.#defaultBridge
    if (!wanted) return records
    const { link, subnet, gateway, mtu, foreign, icc, masquerade, defaultGateway, ipv6 } = wanted
    const bridge: BridgeSpec = {
      ...{ ...ordinaryBridge, networkId: '', link, subnet, gateway, mtu, foreign, icc, masquerade },
      ...(defaultGateway ? { defaultGateway } : {}),
      ...(ipv6 ? { ipv6: { ...ordinaryExit, ...withoutRange(ipv6) } } : {}),
    }
    const options = {
      'com.docker.network.bridge.default_bridge': 'true',
      'com.docker.network.bridge.enable_icc': String(icc),
      'com.docker.network.bridge.enable_ip_masquerade': String(masquerade),
      'com.docker.network.bridge.host_binding_ipv4': wanted.publishAddress,
      'com.docker.network.bridge.name': link,
      'com.docker.network.driver.mtu': String(mtu),
    }
    const config = [configOf(wanted, 4), ...(ipv6 ? [configOf(ipv6, 6)] : [])]
    return [
      { ...base, id: newId(), name: 'bridge', driver: 'bridge', bridge, options, ipam: { config } },
      ...records,
    ]
  }

  #openPool({ name, bridge, ipam }: NetworkRecord): void {
    if (!bridge) return
    const own = name === 'bridge' ? this.#defaultBridge : undefined
    const sides = [{ side: bridge, own }, ...(bridge.ipv6 ? [{ side: bridge.ipv6, own: own?.ipv6 }] : [])]
    for (const { side, own: defaults } of sides) {
      const config = ipam?.config.find(({ Subnet }) => Subnet === formatCidr(side.subnet)) ?? {}
      this.#network.addresses.open(bridge.networkId, {
        subnet: side.subnet,
        range: defaults?.range ?? (config.IPRange ? parseCidr(config.IPRange) : undefined),
        reserved: [side.gateway, ...Object.values(config.AuxiliaryAddresses ?? {})],
      })
    }
  }

  all(): NetworkRecord[] {
    return [...this.#byId.values()]
  }

  /** Where ports are published that name no address and whose network names none. */
  get publishAddress(): string {
    return this.#defaultBridge?.publishAddress ?? '0.0.0.0'
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

  /** Makes a network known and durable; its bridge is in the kernel already. */
  async add(record: NetworkRecord): Promise<void> {
    this.#byId.set(record.id, record)
    this.#openPool(record)
    try {
      await this.#write(record, true)
    } catch (error) {
      this.#byId.delete(record.id)
      throw error
    }
  }

  /** Forgets it: from now on nobody finds it, and durably when this settles. */
  async delete(record: NetworkRecord): Promise<void> {
    this.#byId.delete(record.id)
    try {
      await this.#database.write([{ kind, id: record.id, value: undefined }], { durable: true })
    } catch (error) {
      this.#byId.set(record.id, record)
      throw error
    }
  }
}
