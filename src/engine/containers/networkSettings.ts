import { wayOutOf } from '../../net/bridge.ts'
import type { BridgeSpec, Endpoint } from '../../net/types.ts'
import type { ApiVersion } from '../../wire/version.ts'
import type { Engine } from '../engine.ts'
import { hasNames, namesOf } from '../networks/names.ts'
import { portMap } from './describe.ts'
import type { ContainerRecord, NetworkAttachment } from './types.ts'

const noneIfEmpty = (names: string[] | undefined): string[] | null => (names?.length ? names : null)

const ipamConfig = ({ ipv4, ipv6, linkLocal }: NetworkAttachment): object | null =>
  ipv4 || ipv6 || linkLocal
    ? {
        ...(ipv4 ? { IPv4Address: ipv4 } : {}),
        ...(ipv6 ? { IPv6Address: ipv6 } : {}),
        ...(linkLocal ? { LinkLocalIPs: linkLocal } : {}),
      }
    : null

const ipv6Fields = (endpoint: Endpoint | undefined, bridge: BridgeSpec | undefined): object => {
  const side = endpoint?.ipv6 ? bridge?.ipv6 : undefined
  return {
    IPv6Gateway: side && !bridge?.internal ? wayOutOf(side) : '',
    GlobalIPv6Address: endpoint?.ipv6 ?? '',
    GlobalIPv6PrefixLen: side?.subnet.prefix ?? 0,
  }
}

const endpointSettings = (engine: Engine, record: ContainerRecord, attachment: NetworkAttachment): object => {
  const { endpoint } = attachment
  const bridge = engine.networks.find(attachment.networkId)?.bridge
  return {
    IPAMConfig: ipamConfig(attachment),
    Links: noneIfEmpty(attachment.links),
    Aliases: noneIfEmpty(attachment.aliases),
    DriverOpts: attachment.driverOptions ?? null,
    GwPriority: attachment.gatewayPriority ?? 0,
    MacAddress: endpoint?.mac ?? '',
    NetworkID: endpoint || attachment.networkName !== 'bridge' ? attachment.networkId : '',
    EndpointID: attachment.endpointId,
    Gateway: endpoint && bridge && !bridge.internal ? wayOutOf(bridge) : '',
    IPAddress: endpoint?.ipv4 ?? '',
    IPPrefixLen: endpoint ? (bridge?.subnet.prefix ?? 0) : 0,
    ...ipv6Fields(endpoint, bridge),
    DNSNames: hasNames(attachment) ? namesOf(record, attachment) : null,
  }
}

/** The fields of the default bridge that older clients read at the top. */
const legacyFields = (engine: Engine, record: ContainerRecord): object => {
  const attachment = record.networks.find(({ networkName }) => networkName === 'bridge')
  const endpoint = attachment?.endpoint
  const bridge = endpoint ? engine.networks.find(endpoint.networkId)?.bridge : undefined
  return {
    Bridge: '',
    HairpinMode: false,
    LinkLocalIPv6Address: '',
    LinkLocalIPv6PrefixLen: 0,
    SecondaryIPAddresses: null,
    SecondaryIPv6Addresses: null,
    EndpointID: attachment?.endpointId ?? '',
    Gateway: bridge ? wayOutOf(bridge) : '',
    IPAddress: endpoint?.ipv4 ?? '',
    IPPrefixLen: bridge?.subnet.prefix ?? 0,
    ...ipv6Fields(endpoint, bridge),
    MacAddress: endpoint?.mac ?? '',
  }
}

/** Engine API `NetworkSettings`; the old fields at its top were dropped in 1.52. */
export const networkSettings = (engine: Engine, record: ContainerRecord, version: ApiVersion): object => {
  const sandbox = record.networks.some(({ networkName }) => networkName !== 'host')
  return {
    ...(version.atLeast('1.52') ? {} : legacyFields(engine, record)),
    SandboxID: record.state.pid === 0 ? '' : record.id,
    SandboxKey: record.state.pid === 0 || !sandbox ? '' : engine.connections.sandboxPath(record.id),
    Ports: portMap(record),
    Networks: Object.fromEntries(
      record.networks.map(attachment => [
        attachment.networkName,
        endpointSettings(engine, record, attachment),
      ]),
    ),
  }
}
