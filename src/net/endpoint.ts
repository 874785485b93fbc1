import fs from 'node:fs'
import { UndoStack } from '../core/disposal.ts'
import { badRequest, hasCode, internal, messageOf, notFound, unavailable } from '../core/errors.ts'
import { failpoint } from '../core/failpoint.ts'
import { nonce } from '../core/ids.ts'
import { type FamilyNumber, familyNumber, familyNumbers } from '../linux/ipBytes.ts'
import { inNamespace, writeKernelFile } from '../linux/namespace.ts'
import { NetlinkSocket, protocols } from '../linux/netlink.ts'
import { addVeth, deleteLink, findLink, setHairpin, setIsolated, setLink } from '../linux/rtnetlink.ts'
import { addAddress, deleteDefaultRoute, setDefaultRoute } from '../linux/rtnetlink-routes.ts'
import { bridgeNetfilter, waysOutOf } from './bridge.ts'
import type { Firewall } from './firewall/firewall.ts'
import { linkGroup } from './firewall/rules.ts'
import { endPublishedFlows, forgetUntranslatedFlows } from './flows.ts'
import { aliasOf } from './owner.ts'
import type { PortAllocator } from './ports.ts'
import { canonical, type Family, familyOf } from './subnets.ts'
import type {
  BridgeSpec,
  Endpoint,
  EndpointSpec,
  EndpointStats,
  Exposure,
  GatewayMode,
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
  ipv6?: string | undefined
  mac: string
  bridge: BridgeSpec
  defaultRoute: boolean
  /** It has published ports. */
  publishes: boolean
  sysctls?: string[]
  linkLocal?: string[]
}

/** libnetwork's, whatever the address, and that of `fe80::/64`. */
const linkLocalPrefix: Record<Family, number> = { 4: 16, 6: 64 }

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
    if (!bridge.icc && !bridgeNetfilter(bridge)) messages.push(setIsolated(hostLink, true))
    place.routes.batch(messages)
  } finally {
    fs.closeSync(namespaceFd)
  }
}

const switchIpv6 = (interfaceName: string, on: boolean): void => {
  try {
    writeKernelFile(`/proc/sys/net/ipv6/conf/${interfaceName}/disable_ipv6`, on ? '0' : '1')
  } catch (error) {
    // A kernel without IPv6 has no such file, and nothing to turn off.
    if (on) throw unavailable(`this kernel has no IPv6, which the network needs: ${messageOf(error)}`)
  }
}

const configureInside = (place: EndpointPlace, wiring: Wiring): void =>
  inNamespace(place.sandbox(wiring.containerId), () => {
    using socket = new NetlinkSocket(protocols.route)
    const link = findLink(socket, wiring.interfaceName)
    if (!link) throw internal(`interface ${wiring.interfaceName} vanished from the sandbox`)
    const { subnet, ipv6 } = wiring.bridge
    switchIpv6(wiring.interfaceName, wiring.ipv6 !== undefined)
    const messages = [
      addAddress({ link: link.index, address: wiring.ipv4, prefix: subnet.prefix }),
      ...(wiring.ipv6 && ipv6
        ? [addAddress({ link: link.index, address: wiring.ipv6, prefix: ipv6.subnet.prefix })]
        : []),
      ...(wiring.linkLocal ?? []).map(address =>
        addAddress({ link: link.index, address, prefix: linkLocalPrefix[familyOf(address)] }),
      ),
      setLink(wiring.interfaceName, { up: true }),
    ]
    if (wiring.defaultRoute)
      messages.push(...waysOutOf(wiring.bridge).map(way => setDefaultRoute(link.index, way)))
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

/** What goes elsewhere in a family goes nowhere any more. */
const dropDefaultRoute = (socket: NetlinkSocket, family: FamilyNumber): void => {
  try {
    socket.batch([deleteDefaultRoute(family)])
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error
  }
}

/** Sends what is for elsewhere by this endpoint's bridge, or, without one, nowhere; so, too, the family that it has not. */
export const setGateway = (
  place: Pick<EndpointPlace, 'sandbox'>,
  { containerId, interfaceName }: Pick<Endpoint, 'containerId' | 'interfaceName'>,
  bridge: BridgeSpec | undefined,
): void =>
  inNamespace(place.sandbox(containerId), () => {
    using socket = new NetlinkSocket(protocols.route)
    const link = findLink(socket, interfaceName)
    const ways = bridge ? waysOutOf(bridge) : []
    for (const family of familyNumbers)
      if (!ways.some(way => familyNumber(way) === family)) dropDefaultRoute(socket, family)
    if (link && ways.length > 0) socket.batch(ways.map(way => setDefaultRoute(link.index, way)))
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

const exposureOf = (gatewayMode: GatewayMode, { trusted }: BridgeSpec): Exposure => {
  if (gatewayMode === 'routed') return 'direct'
  return trusted.length > 0 ? 'both' : 'translated'
}

/** How the ports of an endpoint on this bridge are published, by family. */
export const exposuresOf = (
  bridge: BridgeSpec,
): Required<Pick<Endpoint, 'exposure'>> & Pick<Endpoint, 'exposure6'> => ({
  exposure: exposureOf(bridge.gatewayMode, bridge),
  ...(bridge.ipv6 ? { exposure6: exposureOf(bridge.ipv6.gatewayMode, bridge) } : {}),
})

/** A port that is opened under the container's own address: none of the host's is taken. */
const opened = ({ protocol, containerPort }: PortRequest, family: Family): PublishedPort => ({
  ...{ protocol, containerPort },
  ...{ hostIp: family === 4 ? '' : '::', hostPort: 0 },
})

const isAsked = ({ hostIp }: PortRequest, family: Family): boolean =>
  hostIp === '' || familyOf(hostIp) === family

/** Why a port cannot be published at the IPv6 address that it names. */
const checkAsked = (
  place: Pick<EndpointPlace, 'firewall'>,
  requests: PortRequest[],
  hasIpv6: boolean,
): void => {
  const named = requests.find(({ hostIp }) => hostIp !== '' && familyOf(hostIp) === 6)
  if (!named) return
  const what = `cannot publish port ${named.containerPort} on [${named.hostIp}]`
  if (canonical(named.hostIp) === '::1')
    throw badRequest(`${what}: the kernel does not let out what is sent to this address: use 127.0.0.1`)
  if (!hasIpv6)
    throw badRequest(
      `${what}: the container has no IPv6 address: put it on a network with IPv6 (docker network create --ipv6)`,
    )
  if (place.firewall?.publishesIpv6 !== true)
    throw badRequest(`${what}: nothing is published for IPv6 with --firewall-mode=host or --ip6tables=false`)
}

interface Publishing {
  bridge: BridgeSpec
  ports: PortRequest[]
  /** The endpoint has an address of IPv6. */
  hasIpv6: boolean
}

/** The ports of an endpoint, held where they are the host's. */
export const publishedPorts = async (
  place: Pick<EndpointPlace, 'ports' | 'firewall'>,
  containerId: string,
  { bridge, ports, hasIpv6 }: Publishing,
): Promise<PublishedPort[]> => {
  checkAsked(place, ports, hasIpv6)
  const { exposure, exposure6 } = exposuresOf(bridge)
  const families: Family[] = hasIpv6 && place.firewall?.publishesIpv6 ? [4, 6] : [4]
  const isDirect = (family: Family): boolean => (family === 4 ? exposure : exposure6) === 'direct'
  const direct = families
    .filter(isDirect)
    .flatMap(family => ports.filter(port => isAsked(port, family)).map(port => opened(port, family)))
  const held = ports.flatMap(port => {
    const asked = families.filter(family => !isDirect(family) && isAsked(port, family))
    const addresses = asked.map(family => port.hostIp || anyAddress[family])
    return addresses.length > 0 ? [{ ...port, addresses }] : []
  })
  return [...direct, ...(await place.ports.reserve(containerId, held))]
}

const anyAddress: Record<Family, string> = { 4: '0.0.0.0', 6: '::' }

/**
 * Connects a sandbox: ports, links, addresses, publishing. All is undone where
 * a step fails. Errors: `port-allocated`, `bind-failed` for ports, `not-found` for
 * the bridge or the sandbox, `internal`.
 */
export const connect = async (place: EndpointPlace, spec: EndpointSpec): Promise<Endpoint> => {
  const { containerId, bridge, interfaceName, ipv4, ipv6, mac } = spec
  const hostLink = `veth${nonce()}`
  await using undo = new UndoStack()
  const exposures = exposuresOf(bridge)
  const published = await publishedPorts(place, containerId, { ...spec, hasIpv6: ipv6 !== undefined })
  undo.push('ports', () => place.ports.release(containerId, published))
  failpoint('net.connect.reserve')
  undo.push('link', () => removePair(place, hostLink))
  const { defaultRoute, sysctls = [], linkLocal = [] } = spec
  const publishes = published.length > 0
  await wire(place, {
    ...{ containerId, hostLink, interfaceName, ipv4, ipv6, mac, bridge },
    ...{ defaultRoute, publishes, sysctls, linkLocal },
  })
  const endpoint: Endpoint = {
    containerId,
    networkId: bridge.networkId,
    hostLink,
    interfaceName,
    ipv4,
    ...(ipv6 ? { ipv6 } : {}),
    mac,
    published,
    ...exposures,
    defaultRoute,
    ...(linkLocal.length > 0 ? { linkLocal } : {}),
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
