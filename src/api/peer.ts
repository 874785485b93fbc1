import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { type PeerCredentials, peerCredentials, peerGroups } from '../linux/descriptors.ts'
import { descriptorOf } from './hijack.ts'

/** A certificate that a client has shown, and that was verified. */
export interface PeerCertificate {
  /** Of its subject. */
  commonName: string
  pem: string
}

/** Who is at the other end of a connection. */
export type Peer =
  | ({ kind: 'unix' } & PeerCredentials)
  | { kind: 'tcp'; address: string }
  /** The client's own certificate first; none where it has shown none. */
  | { kind: 'tls'; address: string; certificates: readonly PeerCertificate[] }

const known = new WeakMap<Socket, Peer>()

/** For a connection that does not come from its client straight: TLS ends in front of the API. */
export const introduce = (socket: Socket, peer: Peer): void => void known.set(socket, peer)

/** Errors: `client-gone`. */
export const peerOf = (socket: Socket): Peer => {
  const found = known.get(socket)
  if (found) return found
  const { remoteAddress, remotePort } = socket
  const peer: Peer = remoteAddress
    ? { kind: 'tcp', address: `${remoteAddress}:${remotePort}` }
    : { kind: 'unix', ...peerCredentials(descriptorOf(socket)) }
  known.set(socket, peer)
  return peer
}

/** The common name of the client's own certificate; undefined for one without. */
export const subjectOf = (peer: Peer): string | undefined =>
  peer.kind === 'tls' ? peer.certificates[0]?.commonName : undefined

const doors = new WeakMap<Socket, string>()

/** Tells by which unix socket a client came. */
export const cameBy = (socket: Socket, path: string): void => void doors.set(socket, path)

/** The path of the unix socket that a client came by; empty for one that came otherwise. */
export const doorOf = (socket: Socket): string => doors.get(socket) ?? ''

/** Of who connected a unix socket: the group, and those beside it. */
export const peerGroupsOf = (socket: Socket, peer: PeerCredentials): number[] => [
  peer.gid,
  ...peerGroups(descriptorOf(socket)),
]

const processNames = new WeakMap<Peer, string>()

/** What the process of a local connection is called, as long as it is there; empty where it cannot be seen. Looked up once a connection. */
export const processName = (peer: Peer & { kind: 'unix' }): string => {
  let name = processNames.get(peer)
  if (name === undefined) {
    try {
      name = peer.pid > 0 ? readFileSync(`/proc/${peer.pid}/comm`, 'utf8').trimEnd() : ''
    } catch {
      name = ''
    }
    processNames.set(peer, name)
  }
  return name
}

/** The client's own certificate first; empty where it has shown none. */
export const peerCertificates = (socket: Socket): readonly PeerCertificate[] => {
  const peer = known.get(socket)
  return peer?.kind === 'tls' ? peer.certificates : []
}
