import { SystemError } from './ffi.ts'
import {
  type Answer,
  attribute,
  attributesOf,
  flags,
  type Message,
  type NetlinkSocket,
  nested,
  textAttribute,
  textOf,
  u8Attribute,
  u32Attribute,
} from './netlink.ts'

/** Links of rtnetlink: messages are pure data for `NetlinkSocket.batch`. Numbers from linux/if_link.h. */

const RTM_NEWLINK = 16
export const RTM_DELLINK = 17
const RTM_GETLINK = 18
const RTM_SETLINK = 19
const IFF_UP = 1
const IFF_NOARP = 0x80
const AF_INET6 = 10
const IFLA = {
  address: 1,
  name: 3,
  mtu: 4,
  master: 10,
  linkInfo: 18,
  alias: 20,
  stats64: 23,
  afSpec: 26,
  group: 27,
  netnsFd: 28,
}
const IFLA_INFO_KIND = 1
const IFLA_INFO_DATA = 2
const IFLA_INFO_SLAVE_KIND = 4
const IFLA_INFO_SLAVE_DATA = 5
const IFLA_BRPORT_MODE = 4
const IFLA_BRPORT_ISOLATED = 33
const VETH_INFO_PEER = 1
const IFLA_INET6_ADDR_GEN_MODE = 8
const IN6_ADDR_GEN_MODE_NONE = 1
const statsLength = 64

export interface LinkStats {
  rxPackets: bigint
  txPackets: bigint
  rxBytes: bigint
  txBytes: bigint
  rxErrors: bigint
  txErrors: bigint
  rxDropped: bigint
  txDropped: bigint
}

export interface Link {
  index: number
  name: string
  /** `veth`, `bridge`; empty for a device that has no kind. */
  kind: string
  up: boolean
  mtu: number
  mac: string
  /** Index of the bridge it is a port of; 0 for none. */
  master: number
  group: number
  alias: string
  stats: LinkStats | undefined
}

/** What may be said of a link, at birth or later. */
export interface LinkSettings {
  mtu?: number
  mac?: string
  group?: number
  alias?: string
  /** Index of a bridge. */
  master?: number
  up?: boolean
  /** Makes no IPv6 link-local address: a bridge port needs none. */
  withoutLinkLocal?: boolean
  /** Asks nobody for hardware addresses. */
  withoutArp?: boolean
}

const macBytes = (mac: string): Buffer => Buffer.from(mac.replaceAll(':', ''), 'hex')

const macText = (bytes: Buffer | undefined): string =>
  bytes?.length === 6 ? (bytes.toString('hex').match(/../g) ?? []).join(':') : ''

/** struct ifinfomsg */
const linkHeader = (index: number, { up, withoutArp }: LinkSettings = {}): Buffer => {
  const bytes = Buffer.alloc(16)
  bytes.writeInt32LE(index, 4)
  bytes.writeUInt32LE((up ? IFF_UP : 0) | (withoutArp ? IFF_NOARP : 0), 8)
  bytes.writeUInt32LE((up === undefined ? 0 : IFF_UP) | (withoutArp === undefined ? 0 : IFF_NOARP), 12)
  return bytes
}

const settingAttributes = (settings: LinkSettings): Buffer[] => {
  const found: Buffer[] = []
  if (settings.mtu !== undefined) found.push(u32Attribute(IFLA.mtu, settings.mtu))
  if (settings.mac !== undefined) found.push(attribute(IFLA.address, macBytes(settings.mac)))
  if (settings.group !== undefined) found.push(u32Attribute(IFLA.group, settings.group))
  if (settings.alias !== undefined) found.push(attribute(IFLA.alias, Buffer.from(settings.alias)))
  if (settings.master !== undefined) found.push(u32Attribute(IFLA.master, settings.master))
  if (settings.withoutLinkLocal) {
    const mode = u8Attribute(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE)
    found.push(nested(IFLA.afSpec, nested(AF_INET6, mode)))
  }
  return found
}

const creation = (name: string, parts: Buffer[]): Message => ({
  type: RTM_NEWLINK,
  flags: flags.create | flags.exclusive,
  body: Buffer.concat([linkHeader(0), textAttribute(IFLA.name, name), ...parts]),
  what: `add link ${name}`,
})

/** Creates a bridge, down; an alias is taken by `setLink` only. */
export const addBridge = (name: string, settings: LinkSettings): Message =>
  creation(name, [
    ...settingAttributes(settings),
    nested(IFLA.linkInfo, textAttribute(IFLA_INFO_KIND, 'bridge')),
  ])

export interface VethSpec {
  name: string
  settings: LinkSettings
  /** Without a descriptor in the same namespace. */
  peer: { name: string; settings: LinkSettings; namespaceFd?: number }
}

/** Creates a pair, both ends down, the peer straight in its namespace. */
export const addVeth = ({ name, settings, peer }: VethSpec): Message => {
  const peerParts = [
    linkHeader(0),
    textAttribute(IFLA.name, peer.name),
    ...(peer.namespaceFd === undefined ? [] : [u32Attribute(IFLA.netnsFd, peer.namespaceFd)]),
    ...settingAttributes(peer.settings),
  ]
  return creation(name, [
    ...settingAttributes(settings),
    nested(
      IFLA.linkInfo,
      textAttribute(IFLA_INFO_KIND, 'veth'),
      nested(IFLA_INFO_DATA, nested(VETH_INFO_PEER, ...peerParts)),
    ),
  ])
}

/** Changes a link, found by its name. */
export const setLink = (name: string, settings: LinkSettings): Message => ({
  type: RTM_SETLINK,
  flags: 0,
  body: Buffer.concat([
    linkHeader(0, settings),
    textAttribute(IFLA.name, name),
    ...settingAttributes(settings),
  ]),
  what: `set link ${name}`,
})

const portSetting = (name: string, setting: number, on: boolean): Message => ({
  type: RTM_NEWLINK,
  flags: 0,
  body: Buffer.concat([
    linkHeader(0),
    textAttribute(IFLA.name, name),
    nested(
      IFLA.linkInfo,
      textAttribute(IFLA_INFO_SLAVE_KIND, 'bridge'),
      nested(IFLA_INFO_SLAVE_DATA, u8Attribute(setting, on ? 1 : 0)),
    ),
  ]),
  what: `set bridge port ${name}`,
})

/**
 * Lets a bridge port send back through itself. With br_netfilter loaded a
 * translated packet is bridged rather than routed, and a container reaches its
 * own published port only so.
 */
export const setHairpin = (name: string, on: boolean): Message => portSetting(name, IFLA_BRPORT_MODE, on)

/** A bridge port that exchanges nothing with other such ports (Linux 4.18). */
export const setIsolated = (name: string, on: boolean): Message => portSetting(name, IFLA_BRPORT_ISOLATED, on)

export const deleteLink = (name: string): Message => ({
  type: RTM_DELLINK,
  flags: 0,
  body: Buffer.concat([linkHeader(0), textAttribute(IFLA.name, name)]),
  what: `delete link ${name}`,
})

const readStats = (bytes: Buffer | undefined): LinkStats | undefined => {
  if (!bytes || bytes.length < statsLength) return undefined
  const at = (field: number): bigint => bytes.readBigUInt64LE(field * 8)
  return {
    rxPackets: at(0),
    txPackets: at(1),
    rxBytes: at(2),
    txBytes: at(3),
    rxErrors: at(4),
    txErrors: at(5),
    rxDropped: at(6),
    txDropped: at(7),
  }
}

const readLink = (answer: Answer): Link => {
  const found = attributesOf(answer.body, 16)
  const info = found.get(IFLA.linkInfo)
  return {
    index: answer.body.readInt32LE(4),
    name: textOf(found.get(IFLA.name)),
    kind: info ? textOf(attributesOf(info, 0).get(IFLA_INFO_KIND)) : '',
    up: (answer.body.readUInt32LE(8) & IFF_UP) !== 0,
    mtu: found.get(IFLA.mtu)?.readUInt32LE(0) ?? 0,
    mac: macText(found.get(IFLA.address)),
    master: found.get(IFLA.master)?.readUInt32LE(0) ?? 0,
    group: found.get(IFLA.group)?.readUInt32LE(0) ?? 0,
    alias: textOf(found.get(IFLA.alias)),
    stats: readStats(found.get(IFLA.stats64)),
  }
}

const request = (parts: Buffer[], what: string): Message => ({
  type: RTM_GETLINK,
  flags: 0,
  body: Buffer.concat([linkHeader(0), ...parts]),
  what,
})

export const listLinks = (socket: NetlinkSocket): Link[] =>
  socket.dump(request([], 'list links')).map(readLink)

/** The link of this name in the socket's namespace; undefined if there is none. */
export const findLink = (socket: NetlinkSocket, name: string): Link | undefined => {
  try {
    return readLink(socket.ask(request([textAttribute(IFLA.name, name)], `find link ${name}`)))
  } catch (error) {
    if (error instanceof SystemError && error.code === 'ENODEV') return undefined
    throw error
  }
}

/** Name of a link that a multicast message says is gone; undefined for any other message. */
export const goneLink = (answer: Answer): string | undefined => {
  // Family 7 (bridge) tells of a port that leaves, not of a link that ends.
  if (answer.type !== RTM_DELLINK || answer.body[0] !== 0) return undefined
  return textOf(attributesOf(answer.body, 16).get(IFLA.name))
}
