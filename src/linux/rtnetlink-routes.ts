import { AF_INET, AF_INET6, type FamilyNumber, familyNumber, ipBytes, ipText } from './ipBytes.ts'
import {
  type Answer,
  attribute,
  attributesOf,
  flags,
  type Message,
  type NetlinkSocket,
  u32Attribute,
} from './netlink.ts'

/** Addresses and routes of rtnetlink, of both families. Numbers from linux/if_addr.h and linux/rtnetlink.h. */

const RTM_NEWADDR = 20
const RTM_DELADDR = 21
const RTM_GETADDR = 22
const RTM_NEWROUTE = 24
const RTM_DELROUTE = 25
const RTM_GETROUTE = 26
const IFA_ADDRESS = 1
const IFA_LOCAL = 2
const IFA_BROADCAST = 4
const IFA_F_NODAD = 2
const RTA_DST = 1
const RTA_OIF = 4
const RTA_GATEWAY = 5
const RTA_TABLE = 15
const RT_TABLE_MAIN = 254
const RT_TABLE_LOCAL = 255
const RTPROT_BOOT = 3
const RTN_UNICAST = 1
const RT_SCOPE_LINK = 253

export interface InterfaceAddress {
  /** Index of the link. */
  link: number
  /** `172.17.0.1`, `fd00::1` */
  address: string
  prefix: number
}

export interface Route {
  /** Destination; `0.0.0.0` or `::` with prefix 0 is the default route. */
  address: string
  prefix: number
  /** Index of the outgoing link; 0 where the route has none. */
  link: number
  /** Next hop, or empty. */
  gateway: string
  table: number
}

const addressHeader = (family: number, link: number, prefix: number): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeUInt8(family, 0)
  bytes.writeUInt8(prefix, 1)
  bytes.writeUInt32LE(link, 4)
  return bytes
}

const broadcastOf = (address: string, prefix: number): Buffer => {
  const bytes = ipBytes(address)
  bytes.writeUInt32BE((bytes.readUInt32BE(0) | (prefix === 32 ? 0 : 0xffffffff >>> prefix)) >>> 0)
  return bytes
}

/** An address of ours is nobody else's: it is good at once, without a search for another one that has it. */
const unsearched = (header: Buffer): Buffer => {
  header.writeUInt8(IFA_F_NODAD, 2)
  return header
}

/** Adds an address, of IPv4 with its broadcast address. Refused with EEXIST where the link has it. */
export const addAddress = ({ link, address, prefix }: InterfaceAddress): Message => {
  const family = familyNumber(address)
  const header = addressHeader(family, link, prefix)
  return {
    type: RTM_NEWADDR,
    flags: flags.create | flags.exclusive,
    body: Buffer.concat([
      family === AF_INET ? header : unsearched(header),
      attribute(IFA_LOCAL, ipBytes(address)),
      attribute(IFA_ADDRESS, ipBytes(address)),
      ...(family === AF_INET ? [attribute(IFA_BROADCAST, broadcastOf(address, prefix))] : []),
    ]),
    what: `add address ${address}/${prefix}`,
  }
}

export const deleteAddress = ({ link, address, prefix }: InterfaceAddress): Message => ({
  type: RTM_DELADDR,
  flags: 0,
  body: Buffer.concat([
    addressHeader(familyNumber(address), link, prefix),
    attribute(IFA_LOCAL, ipBytes(address)),
  ]),
  what: `delete address ${address}/${prefix}`,
})

const routeHeader = (family: number, table: number): Buffer => {
  const bytes = Buffer.alloc(12)
  bytes.writeUInt8(family, 0)
  bytes.writeUInt8(table, 4)
  bytes.writeUInt8(RTPROT_BOOT, 5)
  bytes.writeUInt8(RTN_UNICAST, 7)
  return bytes
}

/** Makes the default route go by a gateway, whichever way it went before; the link must be up. */
export const setDefaultRoute = (link: number, gateway: string): Message => ({
  type: RTM_NEWROUTE,
  flags: flags.create | flags.replace,
  body: Buffer.concat([
    routeHeader(familyNumber(gateway), RT_TABLE_MAIN),
    attribute(RTA_GATEWAY, ipBytes(gateway)),
    u32Attribute(RTA_OIF, link),
  ]),
  what: `set default route by ${gateway}`,
})

/** Sends everything that is looked up in a table of its own out of a link; the route ends with the link. */
export const setLinkRoute = (link: number, table: number): Message => {
  const header = routeHeader(AF_INET, 0)
  header.writeUInt8(RT_SCOPE_LINK, 6)
  return {
    type: RTM_NEWROUTE,
    flags: flags.create | flags.replace,
    body: Buffer.concat([header, u32Attribute(RTA_TABLE, table), u32Attribute(RTA_OIF, link)]),
    what: `set route of table ${table}`,
  }
}

/** Refused with ESRCH where there is none. */
export const deleteDefaultRoute = (family: FamilyNumber): Message => ({
  type: RTM_DELROUTE,
  flags: 0,
  body: routeHeader(family, RT_TABLE_MAIN),
  what: 'delete default route',
})

/** A multicast message tells of a route that was added, outside the table of local addresses. */
export const isNewRoute = (answer: Answer): boolean =>
  answer.type === RTM_NEWROUTE && readRoute(answer).table !== RT_TABLE_LOCAL

const readAddress = ({ body }: Answer): InterfaceAddress => {
  const found = attributesOf(body, 8)
  return {
    link: body.readUInt32LE(4),
    address: ipText(found.get(IFA_LOCAL) ?? found.get(IFA_ADDRESS)),
    prefix: body.readUInt8(1),
  }
}

/** All addresses of a family in the socket's namespace. */
export const listAddresses = (socket: NetlinkSocket, family: FamilyNumber = AF_INET): InterfaceAddress[] =>
  socket
    .dump({ type: RTM_GETADDR, flags: 0, body: addressHeader(family, 0, 0), what: 'list addresses' })
    // A kernel without the family tells of the other one.
    .filter(({ body }) => body[0] === family)
    .map(readAddress)

const readRoute = ({ body }: Answer): Route => {
  const found = attributesOf(body, 12)
  return {
    address: ipText(found.get(RTA_DST)) || (body[0] === AF_INET6 ? '::' : '0.0.0.0'),
    prefix: body.readUInt8(1),
    link: found.get(RTA_OIF)?.readUInt32LE(0) ?? 0,
    gateway: ipText(found.get(RTA_GATEWAY)),
    table: found.get(RTA_TABLE)?.readUInt32LE(0) ?? body.readUInt8(4),
  }
}

/** The routes of a family in all tables except the local one (255). */
export const listRoutes = (socket: NetlinkSocket, family: FamilyNumber = AF_INET): Route[] => {
  const header = Buffer.alloc(12)
  header.writeUInt8(family, 0)
  return socket
    .dump({ type: RTM_GETROUTE, flags: 0, body: header, what: 'list routes' })
    .filter(({ body }) => body[0] === family)
    .map(readRoute)
    .filter(route => route.table !== RT_TABLE_LOCAL)
}
