import { NetlinkSocket, protocols } from '../linux/netlink.ts'
import { findLink } from '../linux/rtnetlink.ts'
import { listAddresses } from '../linux/rtnetlink-routes.ts'
import type { Ipv4Subnet } from './types.ts'

/** IPv4 addresses of a link of the host, with their prefixes; empty where there is no such link. */
export const interfaceAddresses = (name: string): Ipv4Subnet[] => {
  using socket = new NetlinkSocket(protocols.route)
  const link = findLink(socket, name)
  if (!link) return []
  return listAddresses(socket)
    .filter(entry => entry.link === link.index)
    .map(({ address, prefix }) => ({ address, prefix }))
}
