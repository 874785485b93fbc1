import { mkdirSync, readlinkSync, statSync } from 'node:fs'
import path from 'node:path'
import { Directories } from '../../archive/directories.ts'
import type { Owner } from '../../archive/metadata.ts'
import { clampPath, toByteString } from '../../archive/paths.ts'
import { conflict, hasCode } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { nonce } from '../../core/ids.ts'
import {
  AT_FDCWD,
  chownFd,
  closeFd,
  namesIn,
  O_CREAT,
  O_DIRECTORY,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  openAt,
  openIn,
  owned,
} from '../../linux/files.ts'
import { type IdMaps, rootOf } from '../../linux/idMaps.ts'
import {
  MS_BIND,
  MS_PRIVATE,
  MS_RDONLY,
  MS_REC,
  MS_REMOUNT,
  makePrivateMount,
  mount,
  removeMountedDirectory,
} from '../../linux/mount.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { lendVolumes } from '../volumes/lend.ts'
import { openSubpath } from '../volumes/subpath.ts'
import { volumesOf } from '../volumes/users.ts'
import { prepareBindSources, reachMounts, reachPath } from './bindSources.ts'
import { placeOf } from './boundPlaces.ts'
import type { Container } from './container.ts'
import { containerFiles } from './files.ts'
import { lendImages } from './imageMounts.ts'
import { lendMapped } from './mappedBinds.ts'
import { lendForeign } from './runVolumes.ts'
import { rootOptions } from './selinuxLabels.ts'
import { settleExit } from './state.ts'
import type { ContainerRecord } from './types.ts'

/**
 * A container's file tree for work from outside. A running container's is its
 * first process's root, mounts and all. A stopped one's is put together below
 * exec-root: its writable layer with the bind mounts and volumes on it.
 */
export interface RootView {
  /** The open root directory. Paths from outside are resolved below it with RESOLVE_CONTAINED only. */
  fd: number
  /** Owners in it are as outside of a user namespace with these. */
  maps?: IdMaps | undefined
}

/** A descriptor of this process as a path that its workers can open. */
export const descriptorPath = (fd: number): string => `/proc/${process.pid}/fd/${fd}`

const folder = (engine: Engine): string => path.join(engine.settings.execRoot, 'views')

interface Binding {
  source: string
  /** Of a volume: the part of it that is mounted. */
  subpath?: string
  destination: string
  readWrite: boolean
  nonRecursive: boolean
}

const depth = ({ destination }: Binding): number => destination.split('/').filter(Boolean).length

/** What lies over a stopped container's own files; a parent before what lies below it. */
const bindingsOf = (engine: Engine, record: ContainerRecord): Binding[] => {
  const { hosts, hostname, resolvConf } = containerFiles(engine, record)
  const readWrite = !(record.hostConfig.ReadonlyRootfs ?? false)
  const own = Object.entries({
    '/etc/hosts': hosts,
    '/etc/hostname': hostname,
    '/etc/resolv.conf': resolvConf,
  })
  const bindings: Binding[] = own.flatMap(([destination, source]) =>
    source ? [{ source, destination, readWrite, nonRecursive: true }] : [],
  )
  for (const [index, mount] of record.mounts.entries())
    if (mount.idMapping) bindings.push({ ...mount, source: placeOf(engine, record.id, index) })
    else if (mount.type !== 'tmpfs') bindings.push(mount)
  const last = new Map(bindings.map(binding => [binding.destination, binding]))
  return [...last.values()].sort((a, b) => depth(a) - depth(b))
}

interface Tree {
  /** The open root. */
  root: number
  /** Whose what is made in it is; undefined for this process's user. */
  owner: Owner | undefined
}

interface Place {
  destination: string
  isDirectory: boolean
}

const give = (root: number, paths: readonly string[], { uid, gid }: Owner): void => {
  for (const path of paths) {
    using made = owned(openIn(root, Buffer.from(path, 'latin1'), { flags: O_RDONLY | O_NONBLOCK }))
    chownFd(made.fd, uid, gid)
  }
}

const openOrMake = (
  root: number,
  { destination, isDirectory }: Place,
  onMade: (path: string) => void,
): number => {
  const place = clampPath(toByteString(Buffer.from(destination)))
  using directories = new Directories(root, onMade)
  if (isDirectory) return openIn(directories.make(place), '.', { flags: O_PATH | O_DIRECTORY })
  directories.make(path.posix.dirname(`/${place}`).slice(1))
  const name = Buffer.from(place, 'latin1')
  try {
    return openIn(root, name, { flags: O_PATH })
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
    onMade(place)
    return openIn(root, name, { flags: O_RDONLY | O_NONBLOCK | O_CREAT, mode: 0o755 })
  }
}

/** Opens a mount's place in the view, made where it is missing, as a start of the container does. */
const openPlace = ({ root, owner }: Tree, place: Place): number => {
  const made: string[] = []
  const fd = openOrMake(root, place, path => made.push(path))
  if (owner) give(root, made, owner)
  return fd
}

const attach = (tree: Tree, { destination, readWrite, nonRecursive, ...binding }: Binding): void => {
  using part = binding.subpath ? owned(openSubpath(binding.source, binding.subpath)) : undefined
  const source = part ? descriptorPath(part.fd) : binding.source
  using place = owned(openPlace(tree, { destination, isDirectory: statSync(source).isDirectory() }))
  const target = descriptorPath(place.fd)
  mount({ source, target, flags: MS_BIND | (nonRecursive ? 0 : MS_REC) })
  // A mount can be changed by its path only; nothing but this view is below the folder's private mount.
  const real = readlinkSync(target)
  mount({ source: 'none', target: real, flags: MS_PRIVATE | MS_REC })
  if (!readWrite) mount({ source: 'none', target: real, flags: MS_REMOUNT | MS_BIND | MS_RDONLY })
}

/** Mounts a tree of its own over the writable layer's root; `dispose` takes it away. */
const openMounted = (
  engine: Engine,
  { root, owner }: { root: string; owner: Owner | undefined },
  bindings: readonly Binding[],
): RootView & Disposable => {
  mkdirSync(folder(engine), { recursive: true, mode: 0o700 })
  makePrivateMount(folder(engine))
  const target = path.join(folder(engine), nonce())
  mkdirSync(target, { mode: 0o700 })
  let fd: number | undefined
  try {
    mount({ source: root, target, flags: MS_BIND })
    mount({ source: 'none', target, flags: MS_PRIVATE })
    failpoint('view.mounted')
    fd = openAt(AT_FDCWD, target, O_RDONLY | O_DIRECTORY)
    for (const binding of bindings) attach({ root: fd, owner }, binding)
    const opened = fd
    return {
      fd: opened,
      [Symbol.dispose]: () => {
        closeFd(opened)
        removeMountedDirectory(target)
      },
    }
  } catch (error) {
    if (fd !== undefined) closeFd(fd)
    removeMountedDirectory(target)
    throw error
  }
}

/** The first process's root; undefined where that process has just ended. */
const openRunning = (container: Container): ({ fd: number } & Disposable) | undefined => {
  try {
    return owned(openAt(AT_FDCWD, `/proc/${container.record.state.pid}/root`, O_RDONLY | O_DIRECTORY))
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ESRCH')) return undefined
    throw error
  }
}

/** Runs `use`, then gives the view up. */
const closing = async <T>(
  { record }: Container,
  view: RootView & Disposable,
  use: (view: RootView) => Promise<T>,
): Promise<T> => {
  using opened = view
  return await use({ fd: opened.fd, maps: record.idMaps })
}

const refuseRemoved = (container: Container): void => {
  if (container.removing) throw conflict(`container ${container.id} is marked for removal`)
}

/** The writable layer's root for as long as `use` runs. The caller holds the queue. */
const withLayerRoot = async <T>(
  engine: Engine,
  container: Container,
  use: (root: string) => Promise<T>,
): Promise<T> => {
  refuseRemoved(container)
  const before = engine.uppers.mounted(container.id)
  const root = before ?? (await engine.uppers.mount(container.id, rootOptions(container.record)))
  try {
    return await use(root)
  } finally {
    if (before === undefined && !container.isRunning) await engine.uppers.unmount(container.id)
  }
}

const reachVolumes = async (engine: Engine, container: Container, operation: Operation): Promise<void> => {
  for (const { type, source } of container.record.mounts)
    if (type === 'volume') await reachPath(engine, source, operation)
}

/**
 * Runs `use` on a container's files as they lie on the host: without what the
 * kernel or a tmpfs shows in it, and with its bind mounts and volumes only where
 * `mounts` is set. A stopped container is not started or removed meanwhile; a
 * running one ends and is cleared away as it likes.
 */
export const withLayerView = async <T>(
  engine: Engine,
  container: Container,
  options: { mounts: boolean; operation: Operation; use: (view: RootView) => Promise<T> },
): Promise<T> => {
  const { mounts, operation, use } = options
  const { idMaps } = container.record
  const owner = idMaps && rootOf(idMaps)
  const open = (root: string): RootView & Disposable =>
    openMounted(engine, { root, owner }, mounts ? bindingsOf(engine, container.record) : [])
  const rest = await container.queue.run(async (): Promise<() => Promise<T>> => {
    await settleExit(engine, container)
    const running = container.isRunning ? engine.uppers.mounted(container.id) : undefined
    if (running !== undefined) {
      const view = open(running)
      return () => closing(container, view, use)
    }
    if (mounts) await prepareBindSources(engine, container.record, { operation, certain: true })
    await using _lent = await lendVolumes(engine, mounts ? volumesOf(container) : [], operation)
    await using _foreign = mounts ? await lendForeign(engine, container, operation) : undefined
    if (mounts) await reachVolumes(engine, container, operation)
    await using _images = mounts ? await lendImages(engine, container.record) : undefined
    const result = await withLayerRoot(engine, container, async root => {
      const request = { rootfs: root, signal: operation.signal }
      await using _mapped = mounts ? await lendMapped(engine, container.record, request) : undefined
      return await closing(container, open(root), use)
    })
    return async () => result
  }, operation.signal)
  return rest()
}

/** Runs `use` on the tree that a container's processes see, or would see if it ran. */
export const withRootView = async <T>(
  engine: Engine,
  container: Container,
  options: { operation: Operation; use: (view: RootView) => Promise<T> },
): Promise<T> => {
  const { use } = options
  await settleExit(engine, container)
  refuseRemoved(container)
  if (container.isRunning) await reachMounts(engine, container.record.state.pid, options.operation)
  const running = container.isRunning ? openRunning(container) : undefined
  if (running) return closing(container, running, use)
  return withLayerView(engine, container, { ...options, mounts: true })
}

/** At a start: takes away what a crash left mounted. */
export const recoverViews = (engine: Engine): void => {
  for (const name of namesIn(folder(engine))) removeMountedDirectory(path.join(folder(engine), name))
}
