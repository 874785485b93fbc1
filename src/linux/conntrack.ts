import { SystemError } from './ffi.ts'
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
const AF_INET = 2
const CTA = { tupleOrig: 1, tupleReply: 2, filter: 25 }
const CTA_TUPLE = { ip: 1, proto: 2 }
const CTA_IP = { source: 1, destination: 2 }
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

const ipBytes = (address: string): Buffer => Buffer.from(address.split('.').map(Number))

const tuple = (type: number, filter: TupleFilter): { attribute: Buffer; bits: number } => {
  let bits = match.protocol
  const ip: Buffer[] = []
  const proto = [u8Attribute(CTA_PROTO.number, protocolNumber[filter.protocol])]
  // The kernel parses both addresses of a tuple together, compared or not.
  ip.push(attribute(CTA_IP.source, ipBytes(filter.source ?? '0.0.0.0')))
  ip.push(attribute(CTA_IP.destination, ipBytes(filter.destination ?? '0.0.0.0')))
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
}

const filtered = (type: number, filter: FlowFilter, what: string): Message => {
  const original = filter.original && tuple(CTA.tupleOrig, filter.original)
  const reply = filter.reply && tuple(CTA.tupleReply, filter.reply)
  const parts: Buffer[] = []
  if (original) parts.push(original.attribute)
  if (reply) parts.push(reply.attribute)
  const bits = [
    u32Attribute(CTA_FILTER.origFlags, original?.bits ?? 0),
    u32Attribute(CTA_FILTER.replyFlags, reply?.bits ?? 0),
  ]
  // struct nfgenmsg: family, version, resource id
  const body = Buffer.concat([Buffer.from([AF_INET, 0, 0, 0]), ...parts, nested(CTA.filter, ...bits)])
  return { type, flags: 0, body, what }
}

const readTuple = (bytes: Buffer | undefined): FlowTuple => {
  const parts = attributesOf(bytes ?? Buffer.alloc(0), 0)
  const ip = attributesOf(parts.get(CTA_TUPLE.ip) ?? Buffer.alloc(0), 0)
  const proto = attributesOf(parts.get(CTA_TUPLE.proto) ?? Buffer.alloc(0), 0)
  return {
    protocol: proto.get(CTA_PROTO.number)?.[0] ?? 0,
    source: ip.get(CTA_IP.source)?.join('.') ?? '',
    sourcePort: proto.get(CTA_PROTO.sourcePort)?.readUInt16BE(0) ?? 0,
    destination: ip.get(CTA_IP.destination)?.join('.') ?? '',
    destinationPort: proto.get(CTA_PROTO.destinationPort)?.readUInt16BE(0) ?? 0,
  }
}

const readFlow = ({ body }: Answer): Flow => {
  const found = attributesOf(body, 4)
  return { original: readTuple(found.get(CTA.tupleOrig)), reply: readTuple(found.get(CTA.tupleReply)) }
}

/** The IPv4 flows that match; `socket` speaks NETLINK_NETFILTER. */
export const listFlows = (socket: NetlinkSocket, filter: FlowFilter): Flow[] =>
  socket.dump(filtered(CT_GET, filter, 'list flows')).map(readFlow)

/** Deletes the IPv4 flows that match, in one request. None is no error. */
export const deleteFlows = (socket: NetlinkSocket, filter: FlowFilter): void => {
  try {
    socket.batch([filtered(CT_DELETE, filter, 'delete flows')])
  } catch (error) {
    if (!(error instanceof SystemError && error.code === 'ENOENT')) throw error
  }
}
