import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import type { Server as HttpServer } from 'node:http'
import { createServer, type Server } from 'node:net'
import path from 'node:path'
import { badRequest, hasCode, messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { HolderClient } from '../runtime/types.ts'
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
  const tcp = /^tcp:\/\/(\[[^\]]+\]|[^:/]*)(?::(\d+))?\/?$/.exec(text)
  if (!tcp) throw badRequest(`invalid bind address format: ${text}: use unix://PATH or tcp://127.0.0.1:PORT`)
  const host = tcp[1] || '127.0.0.1'
  if (!rules.open && !loopback.test(host))
    throw badRequest(
      `refusing to listen on ${text}: without TLS anyone who reaches it is root here: use --tlsverify, or say by --tls=false that you want it so`,
    )
  const port = Number(tcp[2] ?? (rules.tls ? 2376 : 2375))
  return { text, tcp: { host: host.replace(/[[\]]/g, ''), port } }
}

const groupId = (name: string): number | undefined => {
  if (/^\d+$/.test(name)) return Number(name)
  const line = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .find(entry => entry.startsWith(`${name}:`))
  return line === undefined ? undefined : Number(line.split(':')[2])
}

const own = (file: string, group: string, log: Log): void => {
  const gid = groupId(group || 'docker')
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
  hosts: Host[]
  group: string
  http: HttpServer
  /** In front of TCP. */
  tls: TlsDoor | undefined
  holder: HolderClient
  log: Log
}

const listenOne = async (host: Host, { http, tls, holder, group, log }: ListenOptions): Promise<Server> => {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: false, noDelay: true }, socket => {
    if (tls && host.tcp) tls.accept(socket)
    else http.emit('connection', socket)
  })
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
  for (const host of options.hosts) listening.push({ host, server: await listenOne(host, options) })
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
  for (const { host, server } of listening) holder.put(heldName(host), descriptorOf(server), 'api')
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
