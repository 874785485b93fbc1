import { wayOutOf } from '../../net/bridge.ts'
import type { ApiVersion } from '../../wire/version.ts'
import type { Engine } from '../engine.ts'
import { hasNames, namesOf } from '../networks/names.ts'
import { portMap } from './describe.ts'
import type { ContainerRecord, NetworkAttachment } from './types.ts'

const noneIfEmpty = (names: string[] | undefined): string[] | null => (names?.length ? names : null)

const endpointSettings = (engine: Engine, record: ContainerRecord, attachment: NetworkAttachment): object => {
  const { endpoint, ipv4 } = attachment
  const bridge = engine.networks.find(attachment.networkId)?.bridge
  return {
    IPAMConfig: ipv4 ? { IPv4Address: ipv4 } : null,
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
    IPv6Gateway: '',
    GlobalIPv6Address: '',
    GlobalIPv6PrefixLen: 0,
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
    GlobalIPv6Address: '',
    GlobalIPv6PrefixLen: 0,
    IPAddress: endpoint?.ipv4 ?? '',
    IPPrefixLen: bridge?.subnet.prefix ?? 0,
    IPv6Gateway: '',
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
