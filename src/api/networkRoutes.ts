import { notFound } from '../core/errors.ts'
import type { Engine } from '../engine/engine.ts'
import type { NetworkRecord } from '../engine/networks/types.ts'
import { Filters } from '../wire/filters.ts'
import type { Route } from './route.ts'

/** `/networks`: what the default networks need. */

const known = ['dangling', 'driver', 'id', 'label', 'name', 'scope', 'type']

/** Engine API `Network`; the list leaves the containers out. */
const networkJson = (engine: Engine, network: NetworkRecord, withContainers: boolean): object => {
  const { bridge } = network
  const config = bridge
    ? [{ Subnet: `${bridge.subnet.address}/${bridge.subnet.prefix}`, Gateway: bridge.gateway }]
    : []
  return {
    Name: network.name,
    Id: network.id,
    Created: network.created,
    Scope: 'local',
    Driver: network.driver,
    EnableIPv4: true,
    EnableIPv6: false,
    IPAM: { Driver: 'default', Options: null, Config: bridge ? config : null },
    Internal: false,
    Attachable: false,
    Ingress: false,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: withContainers ? connected(engine, network) : {},
    Options: network.options,
    Labels: network.labels,
  }
}

const connected = (engine: Engine, network: NetworkRecord): object => {
  const entries = engine.containers.all().flatMap(container => {
    const attachment = container.record.networks.find(({ networkId }) => networkId === network.id)
    if (!attachment || !container.isRunning) return []
    const { endpoint } = attachment
    const prefix = network.bridge?.subnet.prefix ?? 0
    return [
      [
        container.id,
        {
          Name: container.record.name,
          EndpointID: attachment.endpointId,
          MacAddress: endpoint?.mac ?? '',
          IPv4Address: endpoint ? `${endpoint.ipv4}/${prefix}` : '',
          IPv6Address: '',
        },
      ],
    ]
  })
  return Object.fromEntries(entries)
}

const inUse = (engine: Engine, network: NetworkRecord): boolean =>
  engine.containers
    .all()
    .some(container => container.record.networks.some(({ networkId }) => networkId === network.id))

export const networkRoutes: Route[] = [
  {
    method: 'GET',
    path: '/networks',
    operation: 'NetworkList',
    lacks: 'user-defined networks',
    handle: async ({ engine, query }) => {
      const filters = Filters.parse(query.get('filters'), known)
      const dangling = filters.flag('dangling')
      const networks = engine.networks
        .all()
        .filter(
          network =>
            filters.some('name', wanted => network.name.includes(wanted)) &&
            filters.some('id', wanted => network.id.startsWith(wanted)) &&
            filters.exact('driver', network.driver) &&
            filters.exact('scope', 'local') &&
            filters.exact('type', 'builtin') &&
            filters.labels('label', network.labels) &&
            (dangling === undefined || dangling === !inUse(engine, network)),
        )
      return { json: networks.map(network => networkJson(engine, network, false)) }
    },
  },
  {
    method: 'GET',
    path: '/networks/{id}',
    operation: 'NetworkInspect',
    handle: async ({ engine, params, query }) => {
      const network = engine.networks.get(params['id'] ?? '')
      const scope = query.get('scope')
      if (scope && scope !== 'local') throw notFound(`network ${params['id']} not found`)
      return { json: networkJson(engine, network, true) }
    },
  },
  {
    method: 'POST',
    path: '/networks/prune',
    operation: 'NetworkPrune',
    lacks: 'user-defined networks, of which there are none',
    handle: async ({ query }) => {
      Filters.parse(query.get('filters'), ['until', 'label', 'label!'])
      return { json: { NetworksDeleted: null } }
    },
  },
]
