import { AF_INET, AF_INET6, ipText } from './ipBytes.ts'
import { attributesOf, type NetlinkSocket } from './netlink.ts'

/** Which ports are taken on this host: one dump a protocol and family (linux/inet_diag.h). */

const SOCK_DIAG_BY_FAMILY = 20
const protocolNumbers = { tcp: 6, udp: 17 }
const TCP_LISTEN = 10
const INET_DIAG_SKV6ONLY = 11
/** Where the attributes of an answer begin: behind struct inet_diag_msg. */
const messageLength = 72
const TCP_BOUND_INACTIVE = 13
// A UDP socket that is bound but not connected is in state 7 (closed).
const states = { tcp: (1 << TCP_LISTEN) | (1 << TCP_BOUND_INACTIVE), udp: 0xffffffff }

export interface BoundSocket {
  protocol: 'tcp' | 'udp'
  /** `0.0.0.0` and `::`, one entry each, for a wildcard of both families. */
  address: string
  port: number
  /** Of the socket's file; 0 where no process has it. */
  inode: number
}

const request = (family: number, protocol: 'tcp' | 'udp'): Buffer => {
  const body = Buffer.alloc(56)
  body.writeUInt8(family, 0)
  body.writeUInt8(protocolNumbers[protocol], 1)
  body.writeUInt32LE(states[protocol] >>> 0, 4)
  return body
}

/** The addresses that a socket holds: an IPv6 wildcard holds that of IPv4, too, unless it is told not to. */
const heldAddresses = (body: Buffer): string[] => {
  const source = body.subarray(8, 24)
  if (body[0] === AF_INET) return [ipText(source.subarray(0, 4))]
  if (source.every(byte => byte === 0)) {
    const only = attributesOf(body, messageLength).get(INET_DIAG_SKV6ONLY)?.[0] === 1
    return only ? ['::'] : ['0.0.0.0', '::']
  }
  const mapped = source.subarray(0, 10).every(byte => byte === 0) && source.readUInt16BE(10) === 0xffff
  return [ipText(mapped ? source.subarray(12) : source)]
}

/** All bound sockets of a protocol; `socket` speaks NETLINK_SOCK_DIAG. */
export const listBoundSockets = (socket: NetlinkSocket, protocol: 'tcp' | 'udp'): BoundSocket[] => {
  const found: BoundSocket[] = []
  for (const family of [AF_INET, AF_INET6]) {
    const what = `list ${protocol} sockets`
    for (const { body } of socket.dump({
      type: SOCK_DIAG_BY_FAMILY,
      flags: 0,
      body: request(family, protocol),
      what,
    })) {
      for (const address of heldAddresses(body))
        found.push({ protocol, address, port: body.readUInt16BE(4), inode: body.readUInt32LE(68) })
    }
  }
  return found
}
