import { deleteFlows, listFlows } from '../linux/conntrack.ts'
import { familyNumbers } from '../linux/ipBytes.ts'
import type { NetlinkSocket } from '../linux/netlink.ts'
import { listAddresses } from '../linux/rtnetlink-routes.ts'
import { isWildcard, placeText } from './port-table.ts'
import { familyOf } from './subnets.ts'
import type { Endpoint, PublishedPort } from './types.ts'

/** Tracked flows that would go on by an old translation when a port is published or taken back. */

/** With more ports than this one request by address takes the flows of all. */
const portByPort = 8

/** `flows` speaks NETLINK_NETFILTER, `routes` NETLINK_ROUTE, both in the host's namespace. */
export interface FlowSockets {
  flows: NetlinkSocket
  routes: NetlinkSocket
}

/** Ends the flows to the published ports of an endpoint. */
export const endPublishedFlows = (
  { flows }: FlowSockets,
  { ipv4, ipv6, published }: Pick<Endpoint, 'ipv4' | 'ipv6' | 'published'>,
): void => {
  for (const protocol of ['tcp', 'udp'] as const) {
    const ports = new Set(
      published.filter(port => port.protocol === protocol).map(port => port.containerPort),
    )
    for (const source of [ipv4, ...(ipv6 ? [ipv6] : [])]) {
      if (ports.size > portByPort) deleteFlows(flows, { reply: { protocol, source } })
      else for (const sourcePort of ports) deleteFlows(flows, { reply: { protocol, source, sourcePort } })
    }
  }
}

const forgetPort = (
  { flows }: FlowSockets,
  { protocol, hostIp, hostPort }: PublishedPort,
  hosts: Set<string>,
): void => {
  if (!isWildcard(hostIp)) {
    deleteFlows(flows, { original: { protocol, destination: hostIp, destinationPort: hostPort } })
    return
  }
  // Only what goes to this host itself; flows that pass through it are others' business.
  const stale = new Set(
    listFlows(flows, { original: { protocol, destinationPort: hostPort }, ipv6: familyOf(hostIp) === 6 })
      .map(flow => flow.original.destination)
      .filter(destination => hosts.has(destination)),
  )
  for (const destination of stale) {
    deleteFlows(flows, { original: { protocol, destination, destinationPort: hostPort } })
  }
}

/** Forgets UDP flows that began before the port was published: they would stay untranslated. */
export const forgetUntranslatedFlows = (sockets: FlowSockets, ports: PublishedPort[]): void => {
  const datagram = ports.filter(({ protocol, hostPort }) => protocol === 'udp' && hostPort > 0)
  if (datagram.length === 0) return
  const hosts = new Set(
    familyNumbers.flatMap(family => listAddresses(sockets.routes, family).map(({ address }) => address)),
  )
  if (datagram.length > portByPort) forgetMany(sockets, datagram, hosts)
  else for (const port of datagram) forgetPort(sockets, port, hosts)
}

/** By one look at all flows, where a look for each port would take long. */
const forgetMany = ({ flows }: FlowSockets, ports: PublishedPort[], hosts: Set<string>): void => {
  const published = new Set(ports.map(placeText))
  const protocol = 'udp'
  for (const ipv6 of [false, true])
    for (const { original } of listFlows(flows, { original: { protocol }, ipv6 })) {
      const { source, sourcePort, destination, destinationPort: hostPort } = original
      const any = placeText({ hostIp: ipv6 ? '::' : '0.0.0.0', hostPort })
      const isAny = hosts.has(destination) && published.has(any)
      if (isAny || published.has(placeText({ hostIp: destination, hostPort })))
        deleteFlows(flows, {
          original: { protocol, source, sourcePort, destination, destinationPort: hostPort },
        })
    }
}
