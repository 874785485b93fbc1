import { SystemError, sys } from '../linux/ffi.ts'
import { AF_INET, AF_INET6, familyNumber, ipBytes } from '../linux/ipBytes.ts'
import { NetlinkSocket, protocols } from '../linux/netlink.ts'
import { type BoundSocket, listBoundSockets } from '../linux/sockdiag.ts'
import type { Protocol } from './types.ts'

/** Sockets that hold a host port so that no other program takes it. */

const CLOEXEC = 0o2000000
const socketTypes = { tcp: 1 | CLOEXEC, udp: 2 | CLOEXEC }
const SOL_SOCKET = 1
const SO_REUSEADDR = 2
const SO_RCVBUF = 8
const IPPROTO_IPV6 = 41
const IPV6_V6ONLY = 26

const socket = sys('int socket(int domain, int type, int protocol)')
const bind = sys('int bind(int fd, const void *address, unsigned int length)')
const listen = sys('int listen(int fd, int backlog)')
const setsockopt = sys('int setsockopt(int fd, int level, int name, const void *value, unsigned int length)')
const close = sys('int close(int fd)')

export const closeSocket = (fd: number): void => {
  close(fd)
}

const socketAddress = (address: string, port: number): Buffer => {
  const family = familyNumber(address)
  const bytes = Buffer.alloc(family === AF_INET ? 16 : 28)
  bytes.writeUInt16LE(family, 0)
  bytes.writeUInt16BE(port, 2)
  ipBytes(address).copy(bytes, family === AF_INET ? 4 : 8)
  return bytes
}

const option = (fd: number, name: number, value: number, level = SOL_SOCKET): void => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32LE(value)
  setsockopt(fd, level, name, bytes, 4)
}

export interface SocketPlace {
  protocol: Protocol
  hostIp: string
  hostPort: number
}

const bound = ({ protocol, hostIp, hostPort }: SocketPlace, listening: boolean): number => {
  const family = familyNumber(hostIp)
  const fd = socket(family, socketTypes[protocol], 0)
  try {
    // The other family's wildcard is held by a socket of its own, or is not ours.
    if (family === AF_INET6) option(fd, IPV6_V6ONLY, 1, IPPROTO_IPV6)
    if (listening) option(fd, SO_REUSEADDR, 1)
    // Nothing is ever read: what arrives untranslated shall not pile up.
    if (protocol === 'udp') option(fd, SO_RCVBUF, 0)
    const address = socketAddress(hostIp, hostPort)
    bind(fd, address, address.length)
    if (listening) listen(fd, 0)
    return fd
  } catch (error) {
    close(fd)
    throw error
  }
}

/**
 * A descriptor that holds the port. It is bound and not listening, so that a
 * connection which is not translated is refused. Where connections of an ended
 * server still linger (TIME_WAIT) only a listening socket may have the port:
 * then it listens. Errors: SystemError `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`.
 */
export const holdPort = (place: SocketPlace): number => {
  try {
    return bound(place, false)
  } catch (error) {
    const taken = error instanceof SystemError && error.code === 'EADDRINUSE'
    if (!taken || place.protocol === 'udp') throw error
    return bound(place, true)
  }
}

/** All that is bound on this host: one dump, for sets too large to be held by sockets. */
export const boundPorts = (): BoundSocket[] => {
  using diag = new NetlinkSocket(protocols.sockDiag)
  return [...listBoundSockets(diag, 'tcp'), ...listBoundSockets(diag, 'udp')]
}
