import { Socket } from 'node:net'
import { duplicateDescriptor } from '../linux/descriptors.ts'
import { descriptorOf, stopReading } from './hijack.ts'
import { cameBy, doorOf, introduce, peerOf } from './peer.ts'

/** Connections that begin with HTTP/2, on the sockets of the API. */

/** The first bytes of one with prior knowledge (RFC 9113, 3.4). */
const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

/** What Node tells of a connection that its parser of HTTP/1 gives up. */
export interface ParseFailure extends Error {
  code?: string
  /** The bytes that were parsed last, and how far. */
  rawPacket?: Buffer
  bytesParsed?: number
}

/**
 * The parser of HTTP/1 stops behind the preface and says so: other clients are
 * not looked at. Gives the connection anew, from its first byte and without that
 * parser, its client known as before; undefined for one that does not begin so. Errors:
 * `client-gone`, SystemError where there are too many descriptors.
 */
export const takeHttp2 = (failure: ParseFailure, socket: Socket): Socket | undefined => {
  const { code, rawPacket = Buffer.alloc(0), bytesParsed = 0 } = failure
  if (code !== 'HPE_PAUSED_H2_UPGRADE' || socket.destroyed) return undefined
  const isFirst = socket.bytesRead - rawPacket.length + bytesParsed === preface.length
  if (!isFirst) return undefined
  stopReading({ socket })
  const [peer, door] = [peerOf(socket), doorOf(socket)]
  const fresh = new Socket({
    ...{ fd: duplicateDescriptor(descriptorOf(socket)), readable: true, writable: true },
    // A client that has closed its half is gone: without this its socket would stay.
    allowHalfOpen: false,
  })
  introduce(fresh, peer)
  cameBy(fresh, door)
  // Closes our first descriptor of it, and no more.
  socket.destroy()
  fresh.unshift(Buffer.concat([preface, rawPacket.subarray(bytesParsed)]))
  return fresh
}
