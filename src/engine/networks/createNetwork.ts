import { nowText } from '../../core/clock.ts'
import { badRequest, conflict, forbidden, notFound, notImplemented } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { newId } from '../../core/ids.ts'
import { SerialQueue } from '../../core/queue.ts'
import type { Family } from '../../net/subnets.ts'
import type { BridgeSpec } from '../../net/types.ts'
import type { NetworkCreateRequest } from '../../wire/network.ts'
import type { Engine } from '../engine.ts'
import { decideBridge, decideExit6 } from './bridgeOptions.ts'
import { decideSubnet, ipamConfigOf, type SubnetChoice } from './ipam.ts'
import { defaultGatewayKeys, isPredefined, type NetworkRecord, subnetsOf } from './types.ts'

/** Names and subnets are chosen one after another. */
const turns = new WeakMap<Engine, SerialQueue>()

const turn = <T>(engine: Engine, task: () => Promise<T>): Promise<T> => {
  const queue = turns.get(engine) ?? new SerialQueue()
  turns.set(engine, queue)
  return queue.run(task)
}

const checkName = (engine: Engine, name: string): void => {
  if (isPredefined(name)) throw forbidden(`operation is not permitted on predefined ${name} network `)
  if (name.trim() === '') throw badRequest('invalid name: name is empty')
  if (engine.networks.all().some(network => network.name === name))
    throw conflict(`network with name ${name} already exists`)
}

const later = ['macvlan', 'ipvlan']

const checkDriver = (driver: string): void => {
  if (driver === 'bridge') return
  if (driver === 'host' || driver === 'null')
    throw forbidden(`only one instance of "${driver}" network is allowed`)
  if (driver === 'overlay')
    throw forbidden(
      'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.',
    )
  if (later.includes(driver)) throw notImplemented(`a network of the driver ${driver}`)
  throw notFound(
    `could not find plugin ${driver} in v1 plugin registry: plugin "${driver}" not found; Berth has the drivers bridge, host and null`,
  )
}

const checkKind = (request: NetworkCreateRequest): void => {
  if (request.Ingress) throw forbidden('Ingress network can only be global scope network')
  if (request.Scope === 'swarm' || request.Scope === 'global')
    throw forbidden('cannot create a swarm scoped network when swarm is not active')
  if (request.Scope && request.Scope !== 'local') throw badRequest(`invalid network scope "${request.Scope}"`)
  if (request.EnableIPv4 === false) throw notImplemented('a network without IPv4')
}

/** A configuration for other networks to take; there is nothing of it in the kernel. */
const decideConfiguration = (request: NetworkCreateRequest): NetworkRecord => {
  const { Internal, Attachable, ConfigFrom, IPAM, Options = {}, Labels = {} } = request
  if (ConfigFrom?.Network)
    throw forbidden('a configuration network cannot depend on another configuration network')
  if (Internal || Attachable)
    throw forbidden(
      'configuration network can only contain network specific fields: neither internal nor attachable',
    )
  return {
    ...{ id: newId(), name: request.Name ?? '', created: nowText(), driver: 'null', configOnly: true },
    ...{ options: Options, labels: Labels },
    ipam: { config: IPAM?.Config ?? [], ...(IPAM?.Options ? { options: IPAM.Options } : {}) },
    ...(request.EnableIPv6 ? { ipv6: true } : {}),
  }
}

/** The request with the options that the daemon gives to networks which name them not (`--default-network-opt`). */
const withDefaults = ({ settings }: Engine, request: NetworkCreateRequest): NetworkCreateRequest => {
  const defaults = settings.defaultNetworkOptions[request.Driver || 'bridge']
  if (!defaults || request.ConfigFrom?.Network) return request
  return { ...request, Options: { ...defaults, ...request.Options } }
}

/** The request with what the configuration network gives. */
const configured = (engine: Engine, request: NetworkCreateRequest): NetworkCreateRequest => {
  const name = request.ConfigFrom?.Network
  if (!name) return request
  const source = engine.networks.find(name)
  if (!source?.configOnly) throw notFound(`configuration network "${name}" does not exist`)
  if (request.IPAM?.Config?.length || !['', 'default'].includes(request.IPAM?.Driver ?? ''))
    throw forbidden(
      'user-specified configurations are not supported if the network depends on a configuration network',
    )
  if (Object.keys(request.Options ?? {}).length > 0)
    throw forbidden(
      'network driver options are not supported if the network depends on a configuration network',
    )
  return {
    ...request,
    Options: source.options,
    EnableIPv6: source.ipv6 ?? false,
    IPAM: {
      Config: source.ipam?.config ?? [],
      ...(source.ipam?.options ? { Options: source.ipam.options } : {}),
    },
    Labels: { ...source.labels, ...request.Labels },
  }
}

const checkBridgeName = (engine: Engine, link: string, name: string): void => {
  const other = engine.networks.all().find(({ bridge }) => bridge?.link === link)
  if (other)
    throw forbidden(
      `cannot create network ${name} (${link}): conflicts with network ${other.id} (${link}): networks have same bridge name`,
    )
}

const familyOfBridge = (
  { subnet, gateway, reserved }: SubnetChoice,
  family: Family,
): Pick<BridgeSpec, 'subnet' | 'gateway' | 'defaultGateway'> => {
  const defaultGateway = reserved[defaultGatewayKeys[family]]
  return { subnet, gateway, ...(defaultGateway ? { defaultGateway } : {}) }
}

const decideNetwork = (engine: Engine, request: NetworkCreateRequest): NetworkRecord => {
  const { Name: name = '', Internal: internal = false, Options: options = {}, IPAM = {} } = request
  const id = newId()
  const choice = decideBridge(options, { id, internal })
  checkBridgeName(engine, choice.link, name)
  const around = {
    pools: engine.networks.pools,
    networks: engine.networks.all().flatMap(subnetsOf),
    routes: engine.network.hostRoutes(),
  }
  const ipv4 = decideSubnet(IPAM, 4, around)
  const ipv6 = request.EnableIPv6 ? decideSubnet(IPAM, 6, around) : undefined
  return {
    ...{ id, name, created: nowText(), driver: 'bridge', options, labels: request.Labels ?? {} },
    bridge: {
      ...choice,
      networkId: id,
      ...familyOfBridge(ipv4, 4),
      ...(ipv6 ? { ipv6: { ...familyOfBridge(ipv6, 6), ...decideExit6(options, internal) } } : {}),
      foreign: engine.network.hasLink(choice.link),
    },
    ipam: {
      config: [ipv4, ...(ipv6 ? [ipv6] : [])].map(ipamConfigOf),
      ...(IPAM.Options ? { options: IPAM.Options } : {}),
    },
    ...(request.Attachable ? { attachable: true } : {}),
    ...(request.ConfigFrom?.Network ? { configFrom: request.ConfigFrom.Network } : {}),
  }
}

const decide = (engine: Engine, request: NetworkCreateRequest): NetworkRecord => {
  checkName(engine, request.Name ?? '')
  checkKind(request)
  if (request.ConfigOnly) return decideConfiguration(request)
  checkDriver(request.Driver || 'bridge')
  return decideNetwork(engine, configured(engine, withDefaults(engine, request)))
}

/** `POST /networks/create`: in the kernel first, then durable; nothing stays of one that failed. */
export const createNetwork = (engine: Engine, request: NetworkCreateRequest): Promise<NetworkRecord> =>
  turn(engine, async () => {
    const record = decide(engine, request)
    const { bridge } = record
    try {
      if (bridge) engine.network.ensureBridge(bridge)
      failpoint('network.create.made')
      await engine.networks.add(record)
    } catch (error) {
      if (bridge) engine.network.removeBridge(bridge)
      throw error
    }
    failpoint('network.create.recorded')
    if (!record.configOnly)
      engine.events.publish('network', 'create', record.id, { name: record.name, type: record.driver })
    return record
  })
