import { realpathSync } from 'node:fs'
import { lent } from '../../core/disposal.ts'
import { BerthError, badRequest, hasCode, messageOf } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { AT_FDCWD, O_PATH, openAt, owned } from '../../linux/files.ts'
import { mountThatCanHang } from '../../linux/hangingMounts.ts'
import { type IdMaps, type IdRange, outsideOf } from '../../linux/idMaps.ts'
import { attachMount, cloneMount, type MountInfo, mapOwners, readMounts } from '../../linux/mount.ts'
import { type FileStat, isDirectory, statFd } from '../../linux/stat.ts'
import { openUserNamespace } from '../../linux/userNamespace.ts'
import type { Engine } from '../engine.ts'
import { below, mountOf } from './bindPropagation.ts'
import { dropPlaces, makePlace } from './boundPlaces.ts'
import type { ContainerRecord, MountPoint, OwnerMapping } from './types.ts'
import { containerUser } from './userFiles.ts'

/** Binds whose source's owner is another user in the container (mount_setattr(2), MOUNT_ATTR_IDMAP). */

/** One more than the highest id; the last, 4294967295, stands for none. */
const ids = 2 ** 32 - 1

/**
 * `onDisk` is seen as `seen`, all others as they are. What is on disk as
 * `seen` is nobody's, and nobody in the container can be `onDisk` there: else
 * a user of the container could act as another one of the host. Where `onDisk`
 * is root the two are exchanged: who is root in the container may be anybody
 * there, and needs to be somebody on disk.
 */
export const ownerRanges = (onDisk: number, seen: number): IdRange[] => {
  const [low, high] = [Math.min(onDisk, seen), Math.max(onDisk, seen)]
  const kept = [
    [0, low],
    [low + 1, high],
    [high + 1, ids],
  ] as const
  return [
    { inside: onDisk, outside: seen, count: 1 },
    ...(onDisk === 0 && seen !== 0 ? [{ inside: seen, outside: onDisk, count: 1 }] : []),
    ...kept.flatMap(([from, end]) => (end > from ? { inside: from, outside: from, count: end - from } : [])),
  ]
}

const unsupported = (source: string, { type, target }: MountInfo): BerthError =>
  badRequest(
    `cannot map the owner of ${source}: the file system at ${target} (${type}) does not support id-mapped mounts`,
  )

const canMap = ({ target }: MountInfo, namespace: number): boolean => {
  try {
    using found = owned(openAt(AT_FDCWD, target, O_PATH))
    using tree = owned(cloneMount(found.fd, { recursive: false }))
    mapOwners(tree.fd, { namespace, recursive: false })
    return true
  } catch {
    return false
  }
}

/** Which of the file systems that were to be mapped it is that cannot be. */
const blamed = ({ source, nonRecursive }: MountPoint, namespace: number, error: unknown): Error => {
  const table = readMounts()
  const real = realpathSync(source)
  const holder = mountOf(real, table)
  const lower = nonRecursive ? [] : table.filter(({ target }) => target !== real && below(target, real))
  for (const mount of [...(holder ? [holder] : []), ...lower])
    if (mountThatCanHang(mount.target, table) || !canMap(mount, namespace)) return unsupported(source, mount)
  return new BerthError('idmap', 500, `cannot map the owner of ${source}: ${messageOf(error)}`)
}

const explained = (point: MountPoint, namespace: number, error: unknown): Error => {
  if (hasCode(error, 'ENOSYS'))
    return badRequest(`cannot map the owner of ${point.source}: that needs Linux 5.12 or newer`)
  return blamed(point, namespace, error)
}

const namespaceFor = (engine: Engine, maps: IdMaps, signal: AbortSignal): Promise<number> =>
  openUserNamespace([engine.settings.monitorBinary, 'userns'], maps, signal)

const seenAs = (ranges: readonly IdRange[] | undefined, id: number): number => {
  const seen = ranges ? outsideOf(ranges, id) : id
  if (seen === undefined)
    throw badRequest(`cannot map an owner to the user ${id}: the container's user namespace does not have it`)
  return seen
}

/** By what the owners of a source are to be mapped. Errors: `bad-request` where the user is unknown. */
const mapsFor = (
  { config, idMaps }: ContainerRecord,
  { mapping, owner, rootfs }: { mapping: OwnerMapping; owner: FileStat; rootfs: string },
): IdMaps => {
  if (mapping.source === 'userns' && idMaps) return idMaps
  const user = containerUser(rootfs, mapping.user ?? config.User ?? '', [])
  return {
    uids: ownerRanges(owner.uid, seenAs(idMaps?.uids, user.uid)),
    gids: ownerRanges(owner.gid, seenAs(idMaps?.gids, user.gid)),
  }
}

/** A clone of the source that shows its owners by these maps. The caller owns it. */
const cloneMapped = async (
  engine: Engine,
  source: { fd: number; point: MountPoint; maps: IdMaps },
  signal: AbortSignal,
): Promise<number> => {
  const { point, maps } = source
  using namespace = owned(await namespaceFor(engine, maps, signal))
  const recursive = !point.nonRecursive
  const tree = owned(cloneMount(source.fd, { recursive }))
  try {
    mapOwners(tree.fd, { namespace: namespace.fd, recursive })
    return tree.fd
  } catch (error) {
    tree[Symbol.dispose]()
    throw explained(point, namespace.fd, error)
  }
}

interface MappingRequest {
  /** The container's root, for its passwd and group files. */
  rootfs: string
  signal: AbortSignal
}

const bindMapped = async (
  engine: Engine,
  record: ContainerRecord,
  {
    index,
    point,
    mapping,
    rootfs,
    signal,
  }: MappingRequest & { index: number; point: MountPoint; mapping: OwnerMapping },
): Promise<void> => {
  using source = owned(openAt(AT_FDCWD, point.source, O_PATH))
  const owner = statFd(source.fd)
  const maps = mapsFor(record, { mapping, owner, rootfs })
  using tree = owned(await cloneMapped(engine, { fd: source.fd, point, maps }, signal))
  attachMount(tree.fd, makePlace(engine, record.id, { index, isDirectory: isDirectory(owner) }))
  failpoint('start.mapped')
}

/** Before a run, once the root is mounted. Errors: `bad-request` where the user is unknown, or a file system cannot do it. */
export const bindMappedMounts = async (
  engine: Engine,
  record: ContainerRecord,
  request: MappingRequest,
): Promise<void> => {
  for (const [index, point] of record.mounts.entries())
    if (point.idMapping)
      await bindMapped(engine, record, { index, point, mapping: point.idMapping, ...request })
}

/** For work on the files of a container that does not run, and whose queue the caller holds. */
export const lendMapped = async (
  engine: Engine,
  record: ContainerRecord,
  request: MappingRequest,
): Promise<AsyncDisposable> => {
  const giveBack = (): void => {
    if (record.mounts.some(({ idMapping }) => idMapping)) dropPlaces(engine, record.id)
  }
  giveBack()
  return await lent(() => bindMappedMounts(engine, record, request), giveBack)
}
