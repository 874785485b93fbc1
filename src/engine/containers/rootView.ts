import { mkdirSync, readdirSync, readlinkSync, rmdirSync, statSync } from 'node:fs'
import path from 'node:path'
import { Directories } from '../../archive/directories.ts'
import { clampPath, toByteString } from '../../archive/paths.ts'
import { conflict, hasCode } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { nonce } from '../../core/ids.ts'
import {
  AT_FDCWD,
  closeFd,
  O_CREAT,
  O_DIRECTORY,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  openAt,
  openIn,
  owned,
} from '../../linux/files.ts'
import {
  MNT_DETACH,
  MS_BIND,
  MS_PRIVATE,
  MS_RDONLY,
  MS_REC,
  MS_REMOUNT,
  makePrivateMount,
  mount,
  unmount,
} from '../../linux/mount.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { lendVolumes } from '../volumes/lend.ts'
import { openSubpath } from '../volumes/subpath.ts'
import { volumesOf } from '../volumes/users.ts'
import { prepareBindSources, reachMounts, reachPath } from './bindSources.ts'
import type { Container } from './container.ts'
import { containerFiles } from './files.ts'
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
  for (const mount of record.mounts) if (mount.type !== 'tmpfs') bindings.push(mount)
  const last = new Map(bindings.map(binding => [binding.destination, binding]))
  return [...last.values()].sort((a, b) => depth(a) - depth(b))
}

/** Opens a mount's place in the view, made where it is missing, as a start of the container does. */
const openPlace = (root: number, destination: string, isDirectory: boolean): number => {
  const place = clampPath(toByteString(Buffer.from(destination)))
  using directories = new Directories(root)
  if (isDirectory) return openIn(directories.make(place), '.', { flags: O_PATH | O_DIRECTORY })
  directories.make(path.posix.dirname(`/${place}`).slice(1))
  const name = Buffer.from(place, 'latin1')
  try {
    return openIn(root, name, { flags: O_PATH })
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
    return openIn(root, name, { flags: O_RDONLY | O_NONBLOCK | O_CREAT, mode: 0o755 })
  }
}

const attach = (root: number, { destination, readWrite, nonRecursive, ...binding }: Binding): void => {
  using part = binding.subpath ? owned(openSubpath(binding.source, binding.subpath)) : undefined
  const source = part ? descriptorPath(part.fd) : binding.source
  using place = owned(openPlace(root, destination, statSync(source).isDirectory()))
  const target = descriptorPath(place.fd)
  mount({ source, target, flags: MS_BIND | (nonRecursive ? 0 : MS_REC) })
  // A mount can be changed by its path only; nothing but this view is below the folder's private mount.
  const real = readlinkSync(target)
  mount({ source: 'none', target: real, flags: MS_PRIVATE | MS_REC })
  if (!readWrite) mount({ source: 'none', target: real, flags: MS_REMOUNT | MS_BIND | MS_RDONLY })
}

const detach = (target: string): void => {
  try {
    unmount(target, MNT_DETACH)
  } catch (error) {
    if (!hasCode(error, 'EINVAL') && !hasCode(error, 'ENOENT')) throw error
  }
  try {
    rmdirSync(target)
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
  }
}

/** Mounts a tree of its own over the writable layer's root; `dispose` takes it away. */
const openMounted = (engine: Engine, root: string, bindings: readonly Binding[]): RootView & Disposable => {
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
    for (const binding of bindings) attach(fd, binding)
    const opened = fd
    return {
      fd: opened,
      [Symbol.dispose]: () => {
        closeFd(opened)
        detach(target)
      },
    }
  } catch (error) {
    if (fd !== undefined) closeFd(fd)
    detach(target)
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
const closing = async <T>(view: RootView & Disposable, use: (view: RootView) => Promise<T>): Promise<T> => {
  using opened = view
  return await use(opened)
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
  const root = before ?? (await engine.uppers.mount(container.id))
  try {
    return await use(root)
  } finally {
    if (before === undefined && !container.isRunning) await engine.uppers.unmount(container.id)
  }
}

const reachVolumes = async (engine: Engine, container: Container, operation: Operation): Promise<void> => {
  for (const name of volumesOf(container)) await reachPath(engine, engine.volumes.data(name), operation)
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
  const open = (root: string): RootView & Disposable =>
    openMounted(engine, root, mounts ? bindingsOf(engine, container.record) : [])
  const rest = await container.queue.run(async (): Promise<() => Promise<T>> => {
    await settleExit(engine, container)
    const running = container.isRunning ? engine.uppers.mounted(container.id) : undefined
    if (running !== undefined) {
      const view = open(running)
      return () => closing(view, use)
    }
    if (mounts) await prepareBindSources(engine, container.record, { operation, certain: true })
    await using _lent = await lendVolumes(engine, mounts ? volumesOf(container) : [], operation)
    if (mounts) await reachVolumes(engine, container, operation)
    const result = await withLayerRoot(engine, container, root => closing(open(root), use))
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
  if (running) return closing(running, use)
  return withLayerView(engine, container, { ...options, mounts: true })
}

/** At a start: takes away what a crash left mounted. */
export const recoverViews = (engine: Engine): void => {
  let names: string[] = []
  try {
    names = readdirSync(folder(engine))
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
  }
  for (const name of names) detach(path.join(folder(engine), name))
}
