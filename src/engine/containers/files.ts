import { chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import path from 'node:path'
import { hasCode } from '../../core/errors.ts'
import { rootOf } from '../../linux/idMaps.ts'
import { setContext } from '../../linux/selinux.ts'
import { addressesOf } from '../../net/addressBook.ts'
import { buildHosts, selfNames, withAddress, withNames, withoutAddress } from '../../net/hosts.ts'
import { buildInternalResolvConf, buildResolvConf } from '../../net/resolv.ts'
import type { Engine } from '../engine.ts'
import { hostResolvConf, upstreamResolvConf } from '../networks/hostResolver.ts'
import { hasNames } from '../networks/names.ts'
import { extraHost, gatewayOfHost } from './extraHosts.ts'
import { linkedHosts } from './links.ts'
import { containerDirectory } from './logConfig.ts'
import type { ContainerFiles } from './specMounts.ts'
import type { ContainerRecord } from './types.ts'

/** `/etc/hostname`, `/etc/hosts` and `/etc/resolv.conf` of a container, kept in its directory and bind-mounted. */

const readOr = (file: string, otherwise: string): string => {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return otherwise
    throw error
  }
}

const ownFiles = (record: ContainerRecord): boolean =>
  !record.hostConfig.NetworkMode?.startsWith('container:')

const hostsText = (engine: Engine, record: ContainerRecord): string => {
  const gateway = gatewayOfHost(engine)
  const extra = (record.hostConfig.ExtraHosts ?? []).map(entry => extraHost(entry, gateway))
  if (record.hostConfig.NetworkMode === 'host') {
    const host = readOr('/etc/hosts', '127.0.0.1\tlocalhost\n')
    return host + extra.map(({ name, address }) => `${address}\t${name}\n`).join('')
  }
  const addresses = record.networks.flatMap(({ endpoint }) => (endpoint ? addressesOf(endpoint) : []))
  const names = selfNames(record.config.Hostname ?? '', record.config.Domainname ?? '')
  return buildHosts({
    self: { addresses, names },
    extra: [...extra, ...linkedHosts(engine, record)],
    ipv6: true,
  })
}

const resolvText = (engine: Engine, record: ContainerRecord): string => {
  const { dns } = engine.settings
  const { Dns: servers, DnsSearch: search, DnsOptions: options } = record.hostConfig
  const settings = {
    servers: servers?.length ? servers : dns.servers,
    search: search?.length ? search : dns.search,
    options: options?.length ? options : dns.options,
  }
  const untouched = !settings.servers.length && !settings.search.length && !settings.options.length
  if (record.hostConfig.NetworkMode === 'host' && untouched) return hostResolvConf()
  const upstream = upstreamResolvConf(engine.settings.dns.resolvConf)
  if (record.networks.some(hasNames)) return buildInternalResolvConf(upstream, settings)
  return buildResolvConf(upstream, {
    ...settings,
    ipv6: record.networks.some(({ endpoint }) => endpoint?.ipv6),
  })
}

/** Has a running container that came to its first user-defined network ask the name server there. */
export const writeResolvConf = (engine: Engine, record: ContainerRecord): void =>
  writeFileSync(
    path.join(containerDirectory(engine.settings.dataRoot, record.id), 'resolv.conf'),
    resolvText(engine, record),
  )

/**
 * Writes the files for a start. What the container's owner changed in resolv.conf or hosts is written anew, as
 * Docker does. They are a few lines that nobody waits for the disk to take: each call is quicker than a thread's.
 */
export const prepareFiles = (engine: Engine, record: ContainerRecord): void => {
  if (!ownFiles(record)) return
  const directory = containerDirectory(engine.settings.dataRoot, record.id)
  mkdirSync(directory, { recursive: true, mode: 0o710 })
  const name = record.hostConfig.UTSMode === 'host' ? hostname() : (record.config.Hostname ?? '')
  const root = record.idMaps && rootOf(record.idMaps)
  const write = (file: string, text: string): void => {
    const target = path.join(directory, file)
    writeFileSync(target, text, { mode: 0o644 })
    if (record.selinux) setContext(target, record.selinux.mount)
    if (root) chownSync(target, root.uid, root.gid)
  }
  write('hostname', `${name}\n`)
  write('hosts', hostsText(engine, record))
  write('resolv.conf', resolvText(engine, record))
}

const changeHosts = (engine: Engine, { id }: ContainerRecord, change: (text: string) => string): void => {
  const file = path.join(containerDirectory(engine.settings.dataRoot, id), 'hosts')
  // In place: it is mounted into the container.
  writeFileSync(file, change(readFileSync(file, 'utf8')))
}

/** Tells a running container's /etc/hosts of one more address of its own. */
export const addHostsAddress = (engine: Engine, record: ContainerRecord, address: string): void =>
  changeHosts(engine, record, text =>
    withAddress(text, address, selfNames(record.config.Hostname ?? '', record.config.Domainname ?? '')),
  )

export const removeHostsAddress = (engine: Engine, record: ContainerRecord, address: string): void =>
  changeHosts(engine, record, text => withoutAddress(text, address))

/** Tells a running container's /etc/hosts of the address of one that it links to. */
export const setLinkedHost = (
  engine: Engine,
  record: ContainerRecord,
  { names, address }: { names: string[]; address: string },
): void => changeHosts(engine, record, text => withNames(text, names, address))

/** The container whose files and network another one shares. */
const filesOwner = (engine: Engine, record: ContainerRecord): string => {
  const mode = record.hostConfig.NetworkMode ?? ''
  return mode.startsWith('container:') ? engine.containers.get(mode.slice('container:'.length)).id : record.id
}

/** Directory of a `/dev/shm` that several containers share: on the host, below exec-root. */
export const sharedShm = (engine: Engine, id: string): string =>
  path.join(engine.settings.execRoot, 'shm', id)

const shmOf = (engine: Engine, record: ContainerRecord): string | undefined => {
  const mode = record.hostConfig.IpcMode ?? ''
  if (mode === 'host') return '/dev/shm'
  if (mode === 'shareable') return sharedShm(engine, record.id)
  if (!mode.startsWith('container:')) return undefined
  return sharedShm(engine, engine.containers.get(mode.slice('container:'.length)).id)
}

/** Paths of the files as the container's mounts need them. */
export const containerFiles = (engine: Engine, record: ContainerRecord): ContainerFiles => {
  const directory = containerDirectory(engine.settings.dataRoot, filesOwner(engine, record))
  const shm = shmOf(engine, record)
  // In another's pid namespace there is an init already.
  const ownPids = !/^(host$|container:)/.test(record.hostConfig.PidMode ?? '')
  const init = ownPids && (record.hostConfig.Init ?? engine.settings.init)
  const file = (name: string): string => path.join(directory, name)
  return {
    ...(existsSync(file('hosts'))
      ? { hostname: file('hostname'), hosts: file('hosts'), resolvConf: file('resolv.conf') }
      : {}),
    ...(init ? { init: engine.settings.initPath } : {}),
    ...(shm ? { shm } : {}),
    ...(record.idMaps && record.hostConfig.IpcMode === 'host' && existsSync('/dev/mqueue')
      ? { queues: '/dev/mqueue' }
      : {}),
  }
}
