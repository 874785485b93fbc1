import type { Engine } from '../engine/engine.ts'
import { addressUse } from '../engine/networks/ipam.ts'
import type { NetworkRecord } from '../engine/networks/types.ts'
import type { ApiVersion } from '../wire/version.ts'

/** Networks as the Engine API shows them: `Network`, `NetworkSummary`, `NetworkInspect`. */

export interface NetworkView {
  version: ApiVersion
  /** Inspect shows the containers; the list does not since 1.28. */
  containers: boolean
}

export const networkJson = (engine: Engine, network: NetworkRecord, view: NetworkView): object => {
  const { bridge, ipam } = network
  return {
    Name: network.name,
    Id: network.id,
    Created: network.created,
    Scope: 'local',
    Driver: network.driver,
    EnableIPv4: true,
    EnableIPv6: bridge?.ipv6 !== undefined || network.ipv6 === true,
    IPAM: { Driver: 'default', Options: ipam?.options ?? null, Config: ipam ? ipam.config : null },
    Internal: bridge?.internal ?? false,
    Attachable: network.attachable ?? false,
    Ingress: false,
    ConfigFrom: { Network: network.configFrom ?? '' },
    ConfigOnly: network.configOnly ?? false,
    Containers: view.containers ? connected(engine, network) : {},
    Options: network.options,
    Labels: network.labels,
    ...(view.containers && view.version.atLeast('1.52') && bridge ? { Status: status(engine, network) } : {}),
  }
}

const connected = (engine: Engine, { id, bridge }: NetworkRecord): object => {
  const entries = engine.connections.users(id).flatMap(user => {
    const container = engine.containers.byId(user)
    const attachment = container?.record.networks.find(({ networkId }) => networkId === id)
    if (!container || !attachment) return []
    const { endpoint, endpointId } = attachment
    return [
      [
        container.id,
        {
          Name: container.record.name,
          EndpointID: endpointId,
          MacAddress: endpoint?.mac ?? '',
          IPv4Address: endpoint ? `${endpoint.ipv4}/${bridge?.subnet.prefix ?? 0}` : '',
          IPv6Address: endpoint?.ipv6 ? `${endpoint.ipv6}/${bridge?.ipv6?.subnet.prefix ?? 0}` : '',
        },
      ],
    ]
  })
  return Object.fromEntries(entries)
}

/** How many addresses of each subnet are in use, and are still to be had. */
const status = (engine: Engine, network: NetworkRecord): object => ({
  IPAM: {
    Subnets: Object.fromEntries(
      addressUse(engine, network).map(({ subnet, inUse, available }) => [
        subnet,
        { IPsInUse: inUse, DynamicIPsAvailable: available },
      ]),
    ),
  },
})
