import { readFileSync } from 'node:fs'
import { conflict, messageOf, notFound, unavailable } from '../core/errors.ts'
import { failpoint } from '../core/failpoint.ts'
import { familyNumbers } from '../linux/ipBytes.ts'
import { writeKernelFile } from '../linux/namespace.ts'
import type { NetlinkSocket } from '../linux/netlink.ts'
import { addBridge, deleteLink, findLink, type Link, setLink } from '../linux/rtnetlink.ts'
import { addAddress, deleteAddress, listAddresses } from '../linux/rtnetlink-routes.ts'
import { macOfAddress } from './addresses.ts'
import { linkGroup } from './firewall/rules.ts'
import { aliasOf, ownerOf } from './owner.ts'
import { isLinkLocal } from './subnets.ts'
import type { BridgeSpec, Subnet } from './types.ts'

/** Bridges in the kernel. Every function may be repeated. */

export interface BridgePlace {
  /** rtnetlink in the host's namespace. */
  socket: NetlinkSocket
  /** Table name: the mark of this daemon. */
  table: string
}

/** Where containers send what is for elsewhere, by family. */
export const wayOutOf = ({
  gateway,
  defaultGateway,
}: Pick<BridgeSpec, 'gateway' | 'defaultGateway'>): string => defaultGateway ?? gateway

export const waysOutOf = (bridge: BridgeSpec): string[] =>
  [bridge, ...(bridge.ipv6 ? [bridge.ipv6] : [])].map(wayOutOf)

const trySysctl = (file: string, value: string): void => {
  try {
    writeKernelFile(`/proc/sys/net/${file}`, value)
  } catch {
    // A kernel without IPv6 has no such file, and nothing to turn off.
  }
}

const create = ({ socket, table }: BridgePlace, spec: BridgeSpec): void => {
  const alias = aliasOf(table, { kind: 'bridge', networkId: spec.networkId })
  socket.batch([
    addBridge(spec.link, { mtu: spec.mtu, mac: macOfAddress(spec.gateway), group: linkGroup }),
    setLink(spec.link, { alias, withoutLinkLocal: true }),
  ])
  failpoint('net.bridge.link')
  trySysctl(`ipv6/conf/${spec.link}/accept_ra`, '0')
}

const isOn = (file: string): boolean => {
  try {
    return readFileSync(file, 'utf8').trim() === '1'
  } catch {
    return false
  }
}

/** Whether the host's rules see all that is bridged here (br_netfilter), and bridge what they have translated. */
export const bridgeNetfilter = ({ ipv6 }: Pick<BridgeSpec, 'ipv6'>): boolean =>
  ['iptables', ...(ipv6 ? ['ip6tables'] : [])].every(rules =>
    isOn(`/proc/sys/net/bridge/bridge-nf-call-${rules}`),
  )

/**
 * Has what containers send each other pass the host's rules: their ports are
 * isolated (see endpoint.ts), and the bridge answers for their addresses.
 */
const routeWithin = (link: string, on: boolean): void => {
  const file = `/proc/sys/net/ipv4/conf/${link}/proxy_arp_pvlan`
  if (readFileSync(file, 'utf8').trim() === (on ? '1' : '0')) return
  writeKernelFile(file, on ? '1' : '0')
  writeKernelFile(`/proc/sys/net/ipv4/conf/${link}/send_redirects`, on ? '0' : '1')
}

/** The addresses that a bridge of ours has, those alone. */
const ownAddresses = ({ bare, gateway, subnet, ipv6 }: BridgeSpec): Subnet[] => [
  ...(bare ? [] : [{ address: gateway, prefix: subnet.prefix }]),
  ...(ipv6 && ipv6.gatewayMode !== 'isolated'
    ? [{ address: ipv6.gateway, prefix: ipv6.subnet.prefix }, linkLocalGateway]
    : []),
]

/** Docker's, on each bridge that has IPv6. */
const linkLocalGateway = { address: 'fe80::1', prefix: 64 }

const ensureAddresses = (socket: NetlinkSocket, link: number, spec: BridgeSpec): void => {
  const same = (a: Subnet, b: Subnet): boolean => a.address === b.address && a.prefix === b.prefix
  const wanted = ownAddresses(spec)
  const present = familyNumbers
    .flatMap(family => listAddresses(socket, family))
    .filter(entry => entry.link === link)
  const changes = present
    .filter(entry => !isLinkLocal(entry.address) && !wanted.some(address => same(address, entry)))
    .map(deleteAddress)
  for (const address of wanted)
    if (!present.some(entry => same(entry, address))) changes.push(addAddress({ link, ...address }))
  if (changes.length > 0) socket.batch(changes)
}

/** Links made before the kernel's switch was thrown have IPv6 turned off, as have all where it is off by default. */
const turnIpv6On = ({ link }: BridgeSpec): void => {
  try {
    writeKernelFile(`/proc/sys/net/ipv6/conf/${link}/disable_ipv6`, '0')
  } catch (error) {
    throw unavailable(`this kernel has no IPv6, which the network needs: ${messageOf(error)}`)
  }
}

const foreignBridge = (socket: NetlinkSocket, name: string): Link => {
  const link = findLink(socket, name)
  if (!link) throw notFound(`bridge ${name} does not exist: create it, or leave it out to use Berth's own`)
  if (link.kind !== 'bridge') throw conflict(`${name} is not a bridge (it is a ${link.kind || 'device'})`)
  return link
}

/**
 * Creates a bridge or completes one of ours, up and with its address; one made
 * by someone else is only looked at. Errors: `conflict` where another link has
 * the name, `not-found` for a foreign one that is absent.
 */
export const ensureBridge = (place: BridgePlace, spec: BridgeSpec): Link => {
  const { socket, table } = place
  if (spec.foreign) return foreignBridge(socket, spec.link)
  let link = findLink(socket, spec.link)
  if (!link) {
    create(place, spec)
    link = findLink(socket, spec.link)
  }
  if (!link) throw conflict(`bridge ${spec.link} vanished while it was made`)
  const owner = ownerOf(table, link)
  if (owner?.kind !== 'bridge' || owner.networkId !== spec.networkId) {
    throw conflict(
      `a link named ${spec.link} exists and is not this network's: remove it or use another bridge name`,
    )
  }
  if (spec.ipv6) turnIpv6On(spec)
  ensureAddresses(socket, link.index, spec)
  routeWithin(spec.link, !spec.icc && !bridgeNetfilter(spec))
  if (!link.up || link.mtu !== spec.mtu) socket.batch([setLink(spec.link, { up: true, mtu: spec.mtu })])
  failpoint('net.bridge.up')
  return link
}

/** Lets the host's loopback addresses reach containers; only behind the firewall's guard. */
export const allowLoopbackPublishing = (link: string): void => {
  writeKernelFile(`/proc/sys/net/ipv4/conf/${link}/route_localnet`, '1')
}

/** Removes a bridge of ours; one that is absent or another's is left alone. */
export const removeBridge = ({ socket, table }: BridgePlace, name: string): void => {
  const link = findLink(socket, name)
  if (link && ownerOf(table, link)?.kind === 'bridge') socket.batch([deleteLink(name)])
}
