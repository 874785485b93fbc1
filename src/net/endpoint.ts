import fs from 'node:fs'
import { UndoStack } from '../core/disposal.ts'
import { badRequest, hasCode, internal, messageOf, notFound } from '../core/errors.ts'
import { failpoint } from '../core/failpoint.ts'
import { nonce } from '../core/ids.ts'
import { inNamespace, writeKernelFile } from '../linux/namespace.ts'
import { NetlinkSocket, protocols } from '../linux/netlink.ts'
import { addVeth, deleteLink, findLink, setHairpin, setIsolated, setLink } from '../linux/rtnetlink.ts'
import { addAddress, deleteDefaultRoute, setDefaultRoute } from '../linux/rtnetlink-routes.ts'
import { bridgeNetfilter, wayOutOf } from './bridge.ts'
import type { Firewall } from './firewall/firewall.ts'
import { linkGroup } from './firewall/rules.ts'
import { endPublishedFlows, forgetUntranslatedFlows } from './flows.ts'
import { aliasOf } from './owner.ts'
import type { PortAllocator } from './ports.ts'
import type {
  BridgeSpec,
  Endpoint,
  EndpointSpec,
  EndpointStats,
  PortRequest,
  PublishedPort,
} from './types.ts'

/** The steps that connect a sandbox to a bridge, and those that take it apart. */

export interface EndpointPlace {
  /** rtnetlink and ctnetlink in the host's namespace. */
  routes: NetlinkSocket
  flows: NetlinkSocket
  /** Undefined: no rules are made. */
  firewall: Firewall | undefined
  ports: PortAllocator
  table: string
  /** File that pins a container's namespace. */
  sandbox(containerId: string): string
}

/** What the link steps need of an endpoint: the same for a new one and for one made again. */
export interface Wiring {
  containerId: string
  hostLink: string
  interfaceName: string
  ipv4: string
  mac: string
  bridge: BridgeSpec
  defaultRoute: boolean
  /** It has published ports. */
  publishes: boolean
  sysctls?: string[]
}

const addPair = (place: EndpointPlace, wiring: Wiring): void => {
  const { bridge, hostLink, containerId } = wiring
  const master = findLink(place.routes, bridge.link)
  if (!master) throw notFound(`bridge ${bridge.link} does not exist`)
  const namespaceFd = fs.openSync(place.sandbox(containerId), 'r')
  try {
    const alias = aliasOf(place.table, { kind: 'endpoint', containerId, networkId: bridge.networkId })
    const peer = { name: wiring.interfaceName, settings: { mtu: bridge.mtu, mac: wiring.mac }, namespaceFd }
    const messages = [
      addVeth({ name: hostLink, settings: { mtu: bridge.mtu, group: linkGroup }, peer }),
      setLink(hostLink, { master: master.index, alias, up: true, withoutLinkLocal: true }),
    ]
    if (wiring.publishes) messages.push(setHairpin(hostLink, true))
    if (!bridge.icc && !bridgeNetfilter()) messages.push(setIsolated(hostLink, true))
    place.routes.batch(messages)
  } finally {
    fs.closeSync(namespaceFd)
  }
}

const withoutIpv6 = (interfaceName: string): void => {
  try {
    writeKernelFile(`/proc/sys/net/ipv6/conf/${interfaceName}/disable_ipv6`, '1')
  } catch {
    // A kernel without IPv6 has no such file, and nothing to turn off.
  }
}

const configureInside = (place: EndpointPlace, wiring: Wiring): void =>
  inNamespace(place.sandbox(wiring.containerId), () => {
    using socket = new NetlinkSocket(protocols.route)
    const link = findLink(socket, wiring.interfaceName)
    if (!link) throw internal(`interface ${wiring.interfaceName} vanished from the sandbox`)
    withoutIpv6(wiring.interfaceName)
    const { subnet } = wiring.bridge
    const messages = [
      addAddress({ link: link.index, address: wiring.ipv4, prefix: subnet.prefix }),
      setLink(wiring.interfaceName, { up: true }),
    ]
    if (wiring.defaultRoute) messages.push(setDefaultRoute(link.index, wayOutOf(wiring.bridge)))
    socket.batch(messages)
    for (const setting of wiring.sysctls ?? []) applySysctl(wiring.interfaceName, setting)
  })

/** `net.ipv4.conf.IFNAME.log_martians=1` of this interface. */
const applySysctl = (interfaceName: string, setting: string): void => {
  const [name = '', value = ''] = setting.split(/=(.*)/s)
  const [net, family, group, , key] = name.split('.', 5)
  try {
    writeKernelFile(`/proc/sys/${[net, family, group, interfaceName, key].join('/')}`, value)
  } catch (error) {
    throw badRequest(
      `failed to set sysctl ${name} of ${interfaceName} to ${value}: ${messageOf(error)}`,
      error,
    )
  }
}

/** Sends what is for elsewhere by this endpoint, or, without a gateway, nowhere. */
export const setGateway = (
  place: Pick<EndpointPlace, 'sandbox'>,
  { containerId, interfaceName }: Pick<Endpoint, 'containerId' | 'interfaceName'>,
  gateway: string | undefined,
): void =>
  inNamespace(place.sandbox(containerId), () => {
    using socket = new NetlinkSocket(protocols.route)
    const link = findLink(socket, interfaceName)
    try {
      if (gateway === undefined) socket.batch([deleteDefaultRoute()])
      else if (link) socket.batch([setDefaultRoute(link.index, gateway)])
    } catch (error) {
      if (gateway !== undefined || !hasCode(error, 'ESRCH')) throw error
    }
  })

/** Removes a host-side link, and with it its peer; absent is no error. Takes tens of milliseconds. */
export const removePair = (place: Pick<EndpointPlace, 'routes'>, hostLink: string): void => {
  try {
    place.routes.batch([deleteLink(hostLink)])
  } catch (error) {
    // It may be dying with its namespace at this moment.
    if (!hasCode(error, 'ENODEV')) throw error
  }
}

/** Makes the pair and sets up its inside; nothing is left if it fails. */
export const wire = async (place: EndpointPlace, wiring: Wiring): Promise<void> => {
  await using undo = new UndoStack()
  undo.push('link', () => removePair(place, wiring.hostLink))
  addPair(place, wiring)
  failpoint('net.connect.link')
  configureInside(place, wiring)
  failpoint('net.connect.inside')
  undo.commit()
}

export const exposureOf = ({ gatewayMode, trusted }: BridgeSpec): NonNullable<Endpoint['exposure']> => {
  if (gatewayMode === 'routed') return 'direct'
  return trusted.length > 0 ? 'both' : 'translated'
}

/** A port that is opened under the container's own address: none of the host's is taken. */
const opened = ({ protocol, containerPort }: PortRequest): PublishedPort => ({
  ...{ protocol, containerPort },
  ...{ hostIp: '', hostPort: 0 },
})

/** The ports of an endpoint, held where they are the host's. */
export const publishedPorts = async (
  place: Pick<EndpointPlace, 'ports'>,
  containerId: string,
  { bridge, ports }: { bridge: BridgeSpec; ports: PortRequest[] },
): Promise<PublishedPort[]> =>
  exposureOf(bridge) === 'direct' ? ports.map(opened) : await place.ports.reserve(containerId, ports)

/**
 * Connects a sandbox: ports, links, addresses, publishing. All is undone where
 * a step fails. Errors: `port-allocated`, `bind-failed` for ports, `not-found` for
 * the bridge or the sandbox, `internal`.
 */
export const connect = async (place: EndpointPlace, spec: EndpointSpec): Promise<Endpoint> => {
  const { containerId, bridge, interfaceName, ipv4, mac } = spec
  const hostLink = `veth${nonce()}`
  await using undo = new UndoStack()
  const exposure = exposureOf(bridge)
  const published = await publishedPorts(place, containerId, spec)
  undo.push('ports', () => place.ports.release(containerId, published))
  failpoint('net.connect.reserve')
  undo.push('link', () => removePair(place, hostLink))
  const { defaultRoute, sysctls = [] } = spec
  const publishes = published.length > 0
  await wire(place, {
    ...{ containerId, hostLink, interfaceName, ipv4, mac, bridge },
    ...{ defaultRoute, publishes, sysctls },
  })
  const endpoint: Endpoint = {
    containerId,
    networkId: bridge.networkId,
    hostLink,
    interfaceName,
    ipv4,
    mac,
    published,
    exposure,
    defaultRoute,
  }
  undo.push('publish', () => place.firewall?.removeEndpoint(endpoint))
  place.firewall?.addEndpoint(endpoint)
  failpoint('net.connect.publish')
  forgetUntranslatedFlows(place, published)
  failpoint('net.connect.flows')
  undo.commit()
  return endpoint
}

/**
 * Takes an endpoint apart; each step may be repeated. The link is left to die
 * with its namespace unless `deleteLink` says that the sandbox goes on.
 */
export const disconnect = async (
  place: EndpointPlace,
  endpoint: Endpoint,
  options: { deleteLink: boolean },
): Promise<void> => {
  place.firewall?.removeEndpoint(endpoint)
  failpoint('net.disconnect.publish')
  endPublishedFlows(place, endpoint)
  failpoint('net.disconnect.flows')
  await place.ports.release(endpoint.containerId, endpoint.published)
  failpoint('net.disconnect.ports')
  if (options.deleteLink) removePair(place, endpoint.hostLink)
  failpoint('net.disconnect.link')
}

/** Counters of the interface inside the sandbox. Errors: `not-found`. */
export const endpointStats = (sandbox: string, interfaceName: string): EndpointStats => {
  const stats = inNamespace(sandbox, () => {
    using socket = new NetlinkSocket(protocols.route)
    return findLink(socket, interfaceName)?.stats
  })
  if (!stats) throw notFound(`interface ${interfaceName} does not exist in the sandbox`)
  return stats
}
