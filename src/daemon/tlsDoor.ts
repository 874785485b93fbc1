import { constants } from 'node:crypto'
import type { Server as HttpServer } from 'node:http'
import { Socket } from 'node:net'
import { createServer, type TLSSocket } from 'node:tls'
import { introduce, type PeerCertificate } from '../api/peer.ts'
import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { socketPair } from '../linux/descriptors.ts'
import { secureOptionsOf, type TlsSettings } from './tls.ts'

/**
 * TLS in front of the API. What it decrypts goes on over a socket pair, so that
 * the API has a plain connection as from every client, whose descriptor it can
 * hand to a monitor; the encrypted end stays here and ends with the daemon.
 */
export interface TlsDoor {
  /** Takes a connection of TCP. */
  accept(socket: Socket): void
  /** Other certificates, for connections that begin from now on. */
  renew(settings: TlsSettings): void
}

const plainSocket = (fd: number): Socket =>
  new Socket({ fd, readable: true, writable: true, allowHalfOpen: true })

/** Moves bytes, back-pressure and ends both ways; who is lost takes the other with him. */
const join = (secure: TLSSocket, outer: Socket): void => {
  secure.pipe(outer).pipe(secure)
  secure.on('error', () => secure.destroy())
  outer.on('error', () => outer.destroy())
  secure.once('close', () => outer.destroy())
  outer.once('close', () => secure.destroySoon())
}

const pem = (raw: Buffer): string =>
  `-----BEGIN CERTIFICATE-----\n${(raw.toString('base64').match(/.{1,64}/g) ?? []).join('\n')}\n-----END CERTIFICATE-----\n`

/** The client's certificate and those between it and the authority, which has none above itself. */
const certificatesOf = (secure: TLSSocket): PeerCertificate[] => {
  const found: PeerCertificate[] = []
  for (
    let at = secure.getPeerCertificate(true);
    at?.raw && (found.length === 0 || at.issuerCertificate?.fingerprint256 !== at.fingerprint256);
    at = at.issuerCertificate
  )
    found.push({ commonName: [at.subject?.CN ?? ''].flat()[0] ?? '', pem: pem(at.raw) })
  return found
}

const bridge = (secure: TLSSocket, http: HttpServer): void => {
  const [mine, theirs] = socketPair()
  join(secure, plainSocket(mine))
  const plain = plainSocket(theirs)
  introduce(plain, {
    kind: 'tls',
    address: `${secure.remoteAddress}:${secure.remotePort}`,
    certificates: certificatesOf(secure),
  })
  http.emit('connection', plain)
}

/** HTTP/2 only with clients that have nothing else: those of gRPC. */
const spoken = ['http/1.1', 'h2']

export const openTlsDoor = (settings: TlsSettings, http: HttpServer, log: Log): TlsDoor => {
  // A resumed session would be one that a certificate revoked by `renew` once began.
  const secureOptions = constants.SSL_OP_NO_TICKET
  const server = createServer({
    ...secureOptionsOf(settings),
    secureOptions,
    requestCert: settings.verify,
    rejectUnauthorized: settings.verify,
    ALPNCallback: ({ protocols }) => spoken.find(protocol => protocols.includes(protocol)),
    allowHalfOpen: true,
  })
  server.on('secureConnection', secure => bridge(secure, http))
  server.on('tlsClientError', (error, socket) => {
    log.warn('TLS handshake error', { client: socket.remoteAddress ?? '', error: messageOf(error) })
    socket.destroy()
  })
  return {
    accept: socket => void server.emit('connection', socket),
    renew: fresh => server.setSecureContext({ ...secureOptionsOf(fresh), secureOptions }),
  }
}
