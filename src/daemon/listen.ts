import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import type { Server as HttpServer } from 'node:http'
import { createServer, type Server } from 'node:net'
import path from 'node:path'
import { cameBy } from '../api/peer.ts'
import { badRequest, hasCode, messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { boundPath } from '../linux/descriptors.ts'
import type { HolderClient } from '../runtime/types.ts'
import { idIn } from './accounts.ts'
import { activatedSockets } from './activation.ts'
import type { TlsDoor } from './tlsDoor.ts'

/**
 * The API's listening sockets. The descriptor store keeps them while no daemon
 * is there, so that clients queue instead of failing and the socket's inode
 * stays the same inside containers that mount it.
 */
export const defaultSocket = '/run/berth/docker.sock'
/** Where TLS is asked for and no host is named. */
export const tlsHost = 'tcp://localhost:2376'
export const dockerSocket = '/var/run/docker.sock'

export interface Host {
  /** As given: `unix:///run/berth/docker.sock`, `tcp://127.0.0.1:2375`. */
  text: string
  unixPath?: string
  tcp?: { host: string; port: number }
  /** Sockets of systemd: all, or those of a name or a number. */
  activated?: string
}

const loopback = /^(127\.\d+\.\d+\.\d+|localhost|\[::1\]|::1)$/

export interface TcpRules {
  /** TCP is served over TLS. */
  tls: boolean
  /** Other hosts may reach it: over TLS with the client's certificate, or because the user said that TLS is not wanted. */
  open: boolean
}

/** Errors: `bad-request` for another scheme, and for TCP that other hosts could reach: without TLS that is a root shell for all. */
export const parseHost = (text: string, rules: TcpRules = { tls: false, open: false }): Host => {
  const unix = /^unix:\/\/(.*)$/.exec(text)
  if (unix) return { text, unixPath: unix[1] ? path.resolve('/', unix[1]) : defaultSocket }
  const activated = /^fd:\/\/(.*)$/.exec(text)
  if (activated) return { text, activated: activated[1] ?? '' }
  const tcp = /^tcp:\/\/(\[[^\]]+\]|[^:/]*)(?::(\d+))?\/?$/.exec(text)
  if (!tcp)
    throw badRequest(`invalid bind address format: ${text}: use unix://PATH, tcp://127.0.0.1:PORT or fd://`)
  const host = tcp[1] || '127.0.0.1'
  if (!rules.open && !loopback.test(host))
    throw badRequest(
      `refusing to listen on ${text}: without TLS anyone who reaches it is root here: use --tlsverify, or say by --tls=false that you want it so`,
    )
  const port = Number(tcp[2] ?? (rules.tls ? 2376 : 2375))
  return { text, tcp: { host: host.replace(/[[\]]/g, ''), port } }
}

/** Where the API listens: the default socket where no host is named. */
export const listenedHosts = (hosts: readonly Host[]): readonly Host[] =>
  hosts.length > 0 ? hosts : [parseHost(`unix://${defaultSocket}`)]

/** Paths of the unix sockets among them, those that systemd made too. */
export const unixPaths = (hosts: readonly Host[]): string[] =>
  hosts.flatMap(({ unixPath, activated }) => {
    if (unixPath !== undefined) return [unixPath]
    if (activated === undefined) return []
    return activatedSockets(activated).flatMap(({ fd }) => boundPath(fd) || [])
  })

const own = (file: string, group: string, log: Log): void => {
  const gid = idIn('/etc/group', group || 'docker')
  if (gid === undefined && group !== '')
    throw badRequest(`group ${group} not found: make it, or give another --group`)
  if (gid === undefined) log.debug('there is no group docker: the socket is for root alone')
  chownSync(file, 0, gid ?? 0)
  chmodSync(file, 0o660)
}

const heldName = (host: Host): string =>
  `api:${host.unixPath ? `unix:${host.unixPath}` : `tcp:${host.tcp?.host}:${host.tcp?.port}`}`

const bind = (
  server: Server,
  options: { fd: number } | { path: string } | { host: string; port: number },
): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ backlog: 1024, ...options }, () => {
      server.off('error', reject)
      resolve()
    })
  })

/** A held unix socket is good only while its path still leads to it. */
const stillThere = (file: string): boolean => {
  try {
    return statSync(file).isSocket()
  } catch {
    return false
  }
}

const removeStale = (file: string): void => {
  try {
    if (lstatSync(file).isSocket()) rmSync(file)
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
  }
}

const descriptorOf = (server: Server): number => (server as unknown as { _handle: { fd: number } })._handle.fd

export interface ListenOptions {
  hosts: readonly Host[]
  group: string
  http: HttpServer
  /** In front of TCP. */
  tls: TlsDoor | undefined
  holder: HolderClient
  log: Log
}

const serverOf = (unixPath: string | undefined, { http, tls }: ListenOptions): Server =>
  createServer({ allowHalfOpen: true, pauseOnConnect: false, noDelay: true }, socket => {
    if (unixPath) cameBy(socket, unixPath)
    if (tls && socket.remoteAddress !== undefined) tls.accept(socket)
    else http.emit('connection', socket)
  })

/** systemd keeps these while no daemon is there, as the descriptor store does those of others. */
const listenActivated = async (host: Host, options: ListenOptions): Promise<Listening[]> => {
  const listening: Listening[] = []
  for (const { fd } of activatedSockets(host.activated ?? '')) {
    let server: Server
    try {
      server = serverOf(boundPath(fd), options)
      await bind(server, { fd })
    } catch (error) {
      throw badRequest(`cannot listen on ${host.text}, descriptor ${fd}: ${messageOf(error)}`, error)
    }
    listening.push({ host, server })
  }
  return listening
}

const listenOne = async (host: Host, options: ListenOptions): Promise<Server> => {
  const { holder, group, log } = options
  const server = serverOf(host.unixPath, options)
  const name = heldName(host)
  const held = host.unixPath === undefined || stillThere(host.unixPath) ? holder.take(name) : undefined
  if (held !== undefined) {
    await bind(server, { fd: held })
    return server
  }
  try {
    if (host.unixPath !== undefined) {
      mkdirSync(path.dirname(host.unixPath), { recursive: true })
      removeStale(host.unixPath)
      const before = process.umask(0o177)
      try {
        await bind(server, { path: host.unixPath })
      } finally {
        process.umask(before)
      }
      own(host.unixPath, group, log)
    } else if (host.tcp) await bind(server, host.tcp)
  } catch (error) {
    throw badRequest(`cannot listen on ${host.text}: ${messageOf(error)}`, error)
  }
  holder.put(name, descriptorOf(server), 'api')
  return server
}

/** A host that is listened on: for a store that replaces a lost one. */
export interface Listening {
  host: Host
  server: Server
}

/** Listens on all hosts, with the sockets of an earlier daemon where they are held. */
export const listenAll = async (options: ListenOptions): Promise<Listening[]> => {
  const listening: Listening[] = []
  for (const host of options.hosts) {
    if (host.activated === undefined) listening.push({ host, server: await listenOne(host, options) })
    else listening.push(...(await listenActivated(host, options)))
  }
  return listening
}

/** In dockerd's words, where no certificate is asked of clients. */
export const warnOfTcp = (hosts: readonly Host[], log: Log): void => {
  for (const { text, tcp } of hosts)
    if (tcp)
      log.warn(
        'Binding to IP address without --tlsverify is insecure and gives root access on this machine to everyone who has access to your network.',
        { host: text },
      )
}

/** Gives the listeners to another store. */
export const holdListeners = (holder: HolderClient, listening: readonly Listening[]): void => {
  for (const { host, server } of listening)
    if (host.activated === undefined) holder.put(heldName(host), descriptorOf(server), 'api')
}

/**
 * Makes `/var/run/docker.sock` lead to our socket where nothing is there, or
 * what is there is our own link. Another engine's socket is never touched.
 */
export const claimDockerSocket = (target: string, log: Log): void => {
  try {
    const found = lstatSync(dockerSocket)
    const ours = found.isSymbolicLink() && readlinkSync(dockerSocket) === target
    if (!ours)
      log.warn(
        `${dockerSocket} belongs to another engine: stop that engine and remove the file to let Berth take it over, or use DOCKER_HOST=unix://${target}`,
      )
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
    symlinkSync(target, dockerSocket)
    log.info(`${dockerSocket} leads to ${target}`)
  }
}
