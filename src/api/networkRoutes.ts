import { badRequest, notFound } from '../core/errors.ts'
import { connectContainer, disconnectContainer } from '../engine/networks/connectContainer.ts'
import { createNetwork } from '../engine/networks/createNetwork.ts'
import { overlapsOf } from '../engine/networks/overlaps.ts'
import { isNamed, pruneNetworks, removeNetwork } from '../engine/networks/removeNetwork.ts'
import { isPredefined, type NetworkRecord } from '../engine/networks/types.ts'
import { Filters } from '../wire/filters.ts'
import { networkConnectRequest, networkCreateRequest, networkDisconnectRequest } from '../wire/network.ts'
import { readJson } from './body.ts'
import { networkJson } from './networkDocument.ts'
import type { Call, Route } from './route.ts'

/** `/networks` */

const known = ['dangling', 'driver', 'id', 'label', 'name', 'scope', 'type']
const types = ['builtin', 'custom']

const listed = ({ engine, query }: Call): NetworkRecord[] => {
  const filters = Filters.parse(query.get('filters'), known)
  const dangling = filters.flag('dangling')
  for (const type of filters.get('type'))
    if (!types.includes(type)) throw badRequest(`invalid filter: 'type'='${type}'`)
  return engine.networks
    .all()
    .filter(
      network =>
        filters.some('name', wanted => network.name.includes(wanted)) &&
        filters.some('id', wanted => network.id.startsWith(wanted)) &&
        filters.exact('driver', network.driver) &&
        filters.exact('scope', 'local') &&
        filters.exact('type', isPredefined(network.name) ? 'builtin' : 'custom') &&
        filters.labels('label', network.labels) &&
        (dangling === undefined || dangling === (!isPredefined(network.name) && !isNamed(engine, network))),
    )
}

const networkOf = ({ engine, params }: Call): NetworkRecord => engine.networks.get(params['id'] ?? '')

export const networkRoutes: Route[] = [
  {
    method: 'GET',
    path: '/networks',
    operation: 'NetworkList',
    handle: async call => ({
      json: listed(call).map(network =>
        networkJson(call.engine, network, {
          version: call.version,
          containers: !call.version.atLeast('1.28'),
        }),
      ),
    }),
  },
  {
    method: 'GET',
    path: '/networks/{id}',
    operation: 'NetworkInspect',
    handle: async call => {
      const network = networkOf(call)
      const scope = call.query.get('scope')
      if (scope && scope !== 'local') throw notFound(`network ${call.params['id']} not found`)
      return { json: networkJson(call.engine, network, { version: call.version, containers: true }) }
    },
  },
  {
    method: 'POST',
    path: '/networks/create',
    operation: 'NetworkCreate',
    lacks: 'drivers other than bridge; networks without IPv4',
    handle: async ({ engine, req, version }) => {
      const request = await readJson(req, networkCreateRequest)
      if (!version.atLeast('1.48')) delete request.EnableIPv4
      const network = await createNetwork(engine, request)
      const warnings = overlapsOf([network], engine.network.namedRoutes())
      return { status: 201, json: { Id: network.id, Warning: warnings.join('\n') } }
    },
  },
  {
    method: 'DELETE',
    path: '/networks/{id}',
    operation: 'NetworkDelete',
    handle: async call => {
      await removeNetwork(call.engine, networkOf(call))
      return { status: 204 }
    },
  },
  {
    method: 'POST',
    path: '/networks/{id}/connect',
    operation: 'NetworkConnect',
    handle: async call => {
      const { Container: reference = '', EndpointConfig: settings = {} } = await readJson(
        call.req,
        networkConnectRequest,
      )
      if (!call.version.atLeast('1.54')) delete settings.MacAddress
      const network = networkOf(call)
      const container = call.engine.containers.get(reference)
      await connectContainer(call.engine, container, { network, settings })
      return { status: 200 }
    },
  },
  {
    method: 'POST',
    path: '/networks/{id}/disconnect',
    operation: 'NetworkDisconnect',
    handle: async call => {
      const { Container: reference = '', Force: force } = await readJson(call.req, networkDisconnectRequest)
      const network = networkOf(call)
      const container = call.engine.containers.find(reference)
      if (!container && force) throw notFound(`endpoint ${reference} not found`)
      await disconnectContainer(call.engine, container ?? call.engine.containers.get(reference), network)
      return { status: 200 }
    },
  },
  {
    method: 'POST',
    path: '/networks/prune',
    operation: 'NetworkPrune',
    handle: async ({ engine, query }) => {
      const names = await pruneNetworks(engine, query.get('filters'))
      return { json: { NetworksDeleted: names.length > 0 ? names : null } }
    },
  },
]
