import { AF_INET, AF_INET6 } from '../linux/ipBytes.ts'
import { NetlinkSocket, protocols } from '../linux/netlink.ts'
import { findLink } from '../linux/rtnetlink.ts'
import { listAddresses } from '../linux/rtnetlink-routes.ts'
import { type Family, isLinkLocal } from './subnets.ts'
import type { Subnet } from './types.ts'

/** Addresses of a link of the host, with their prefixes; empty where there is no such link. Of IPv6 without those of the link alone. */
export const interfaceAddresses = (name: string, family: Family = 4): Subnet[] => {
  using socket = new NetlinkSocket(protocols.route)
  const link = findLink(socket, name)
  if (!link) return []
  return listAddresses(socket, family === 4 ? AF_INET : AF_INET6)
    .filter(entry => entry.link === link.index && !isLinkLocal(entry.address))
    .map(({ address, prefix }) => ({ address, prefix }))
}
