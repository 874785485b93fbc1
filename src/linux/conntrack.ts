import { SystemError } from './ffi.ts'
import { AF_INET, AF_INET6, familyNumber, ipBytes, ipText } from './ipBytes.ts'
import {
  type Answer,
  attribute,
  attributesOf,
  be16Attribute,
  type Message,
  type NetlinkSocket,
  nested,
  u8Attribute,
  u32Attribute,
} from './netlink.ts'

/**
 * Flows of the kernel's connection tracking, by ctnetlink with filters that
 * the kernel applies (Linux 5.8 and later). Numbers from
 * linux/netfilter/nfnetlink_conntrack.h.
 */

const CT_GET = 0x0101
const CT_DELETE = 0x0102
const CTA = { tupleOrig: 1, tupleReply: 2, filter: 25 }
const CTA_TUPLE = { ip: 1, proto: 2 }
const CTA_IP = { source: 1, destination: 2 }
const CTA_IP6 = { source: 3, destination: 4 }
const CTA_PROTO = { number: 1, sourcePort: 2, destinationPort: 3 }
const CTA_FILTER = { origFlags: 1, replyFlags: 2 }
// Bits of the filter: which parts of the given tuple must match.
const match = { ipSource: 1, ipDestination: 2, protocol: 8, sourcePort: 16, destinationPort: 32 }
export const protocolNumber = { tcp: 6, udp: 17 }

/** One direction of a flow; what is absent is not compared. */
export interface TupleFilter {
  protocol: 'tcp' | 'udp'
  source?: string
  sourcePort?: number
  destination?: string
  destinationPort?: number
}

/** By its addresses; IPv4 where it names none. */
const familyOf = ({ source, destination }: TupleFilter): number => familyNumber(source ?? destination ?? '')

export interface FlowTuple {
  protocol: number
  source: string
  sourcePort: number
  destination: string
  destinationPort: number
}

export interface Flow {
  original: FlowTuple
  reply: FlowTuple
}

const unnamed = (family: number): Buffer => Buffer.alloc(family === AF_INET ? 4 : 16)

const tuple = (type: number, filter: TupleFilter, family: number): { attribute: Buffer; bits: number } => {
  let bits = match.protocol
  const ip: Buffer[] = []
  const proto = [u8Attribute(CTA_PROTO.number, protocolNumber[filter.protocol])]
  // The kernel parses both addresses of a tuple together, compared or not.
  const types = family === AF_INET ? CTA_IP : CTA_IP6
  ip.push(attribute(types.source, filter.source ? ipBytes(filter.source) : unnamed(family)))
  ip.push(attribute(types.destination, filter.destination ? ipBytes(filter.destination) : unnamed(family)))
  proto.push(be16Attribute(CTA_PROTO.sourcePort, filter.sourcePort ?? 0))
  proto.push(be16Attribute(CTA_PROTO.destinationPort, filter.destinationPort ?? 0))
  if (filter.source !== undefined) bits |= match.ipSource
  if (filter.destination !== undefined) bits |= match.ipDestination
  if (filter.sourcePort !== undefined) bits |= match.sourcePort
  if (filter.destinationPort !== undefined) bits |= match.destinationPort
  return { attribute: nested(type, nested(CTA_TUPLE.ip, ...ip), nested(CTA_TUPLE.proto, ...proto)), bits }
}

export interface FlowFilter {
  original?: TupleFilter
  reply?: TupleFilter
  /** Where no address tells the family. */
  ipv6?: boolean
}

const filtered = (type: number, filter: FlowFilter, what: string): Message => {
  const asked = Math.max(...[filter.original, filter.reply].map(one => (one ? familyOf(one) : AF_INET)))
  const family = filter.ipv6 ? AF_INET6 : asked
  const original = filter.original && tuple(CTA.tupleOrig, filter.original, family)
  const reply = filter.reply && tuple(CTA.tupleReply, filter.reply, family)
  const parts: Buffer[] = []
  if (original) parts.push(original.attribute)
  if (reply) parts.push(reply.attribute)
  const bits = [
    u32Attribute(CTA_FILTER.origFlags, original?.bits ?? 0),
    u32Attribute(CTA_FILTER.replyFlags, reply?.bits ?? 0),
  ]
  // struct nfgenmsg: family, version, resource id
  const body = Buffer.concat([Buffer.from([family, 0, 0, 0]), ...parts, nested(CTA.filter, ...bits)])
  return { type, flags: 0, body, what }
}

const readTuple = (bytes: Buffer | undefined): FlowTuple => {
  const parts = attributesOf(bytes ?? Buffer.alloc(0), 0)
  const ip = attributesOf(parts.get(CTA_TUPLE.ip) ?? Buffer.alloc(0), 0)
  const proto = attributesOf(parts.get(CTA_TUPLE.proto) ?? Buffer.alloc(0), 0)
  return {
    protocol: proto.get(CTA_PROTO.number)?.[0] ?? 0,
    source: ipText(ip.get(CTA_IP.source) ?? ip.get(CTA_IP6.source)),
    sourcePort: proto.get(CTA_PROTO.sourcePort)?.readUInt16BE(0) ?? 0,
    destination: ipText(ip.get(CTA_IP.destination) ?? ip.get(CTA_IP6.destination)),
    destinationPort: proto.get(CTA_PROTO.destinationPort)?.readUInt16BE(0) ?? 0,
  }
}

const readFlow = ({ body }: Answer): Flow => {
  const found = attributesOf(body, 4)
  return { original: readTuple(found.get(CTA.tupleOrig)), reply: readTuple(found.get(CTA.tupleReply)) }
}

/** The flows of one family that match; `socket` speaks NETLINK_NETFILTER. */
export const listFlows = (socket: NetlinkSocket, filter: FlowFilter): Flow[] =>
  socket.dump(filtered(CT_GET, filter, 'list flows')).map(readFlow)

/** Deletes the flows of one family that match, in one request. None is no error. */
export const deleteFlows = (socket: NetlinkSocket, filter: FlowFilter): void => {
  try {
    socket.batch([filtered(CT_DELETE, filter, 'delete flows')])
  } catch (error) {
    if (!(error instanceof SystemError && error.code === 'ENOENT')) throw error
  }
}
