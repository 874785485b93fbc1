import { closeSync, openSync, statSync } from 'node:fs'
import path from 'node:path'
import { BerthError, hasCode, internal, messageOf } from '../../core/errors.ts'
import { O_PATH, openIn, owned } from '../../linux/files.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { type FillPlace, fillInto, finishFill, isUnderWay, openEmpty } from '../volumes/fill.ts'
import { newHome } from '../volumes/homes.ts'
import { mountHeld, unmountHeld } from '../volumes/mounting.ts'
import { mountedPlace, plainPlace } from '../volumes/place.ts'
import { endUseHeld, mountUse } from '../volumes/pluginUses.ts'
import { isForeign, needsMount, type VolumeRecord } from '../volumes/types.ts'
import { reachPath } from './bindSources.ts'
import { copyTree } from './copyTree.ts'
import { rootOptions } from './selinuxLabels.ts'
import type { ContainerRecord, MountPoint } from './types.ts'

/** Copy-up: a volume that is empty gets what the image has at the mount's place, the directory's own owner and mode included. */

const overFile = 'volume-over-file'

interface Filling {
  /** Volumes that are made with the container, and have no name yet. */
  fresh: ReadonlySet<string>
  operation: Operation
}

/** The image's directory at a mount's place, inside its root whatever links say; undefined where there is none. */
const openSource = (rootfs: string, mount: MountPoint): ({ fd: number } & Disposable) | undefined => {
  const root = openSync(rootfs, 'r')
  try {
    const source = owned(openIn(root, mount.destination.replace(/^\/+/, ''), { flags: O_PATH }))
    if (statSync(`/proc/self/fd/${source.fd}`).isDirectory()) return source
    source[Symbol.dispose]()
  } catch (error) {
    if (!hasCode(error, 'ENOENT') && !hasCode(error, 'ENOTDIR')) throw error
    return undefined
  } finally {
    closeSync(root)
  }
  // Docker refuses it of a volume of the image's alone; another mount there fails when the container starts.
  if (!mount.named)
    throw new BerthError(
      overFile,
      500,
      `cannot mount volume over existing file, file exists ${mount.destination}`,
    )
  return undefined
}

const failure = ({ name, destination }: MountPoint, error: unknown): Error =>
  internal(`failed to populate volume: ${name} from ${destination} of the image: ${messageOf(error)}`, error)

const isEmpty = (place: FillPlace, subpath: string): boolean => {
  using found = openEmpty(place, subpath)
  return found !== undefined
}

/** Under a passing name: nobody sees it before it is whole. */
const fillFresh = async (
  engine: Engine,
  { rootfs, mount }: { rootfs: string; mount: MountPoint },
  { signal }: Operation,
): Promise<void> => {
  const place = {
    ...plainPlace(engine, mount.name),
    data: path.join(newHome(engine.volumes, mount.name), '_data'),
  }
  using source = openSource(rootfs, mount)
  if (source && isEmpty(place, mount.subpath ?? '')) await copyTree(source.fd, place.data, signal)
}

const fillPlace = async (
  place: FillPlace,
  { rootfs, mount }: { rootfs: string; mount: MountPoint },
  { signal }: Operation,
): Promise<void> => {
  await finishFill(place)
  if (!isEmpty(place, mount.subpath ?? '')) return
  using source = openSource(rootfs, mount)
  if (source) await fillInto(place, mount.subpath ?? '', to => copyTree(source.fd, to, signal))
}

/** What is in memory would be gone before the container starts. */
const isPassing = ({ options }: VolumeRecord): boolean => ['tmpfs', 'ramfs'].includes(options['type'] ?? '')

const fillMounted = async (
  engine: Engine,
  volume: VolumeRecord,
  { rootfs, mount, operation }: { rootfs: string; mount: MountPoint; operation: Operation },
): Promise<void> => {
  using source = openSource(rootfs, mount)
  if (!source || isPassing(volume)) return
  try {
    await mountHeld(engine, volume, operation)
    await reachPath(engine, engine.volumes.data(volume.name), operation)
    await fillPlace(mountedPlace(engine.volumes.data(volume.name)), { rootfs, mount }, operation)
  } finally {
    await unmountHeld(engine, volume.name)
  }
}

/** A plugin mounts it for the filling as it does for a run. */
const fillForeign = async (
  engine: Engine,
  volume: VolumeRecord & { driver: string },
  { rootfs, mount, id, operation }: { rootfs: string; mount: MountPoint; id: string; operation: Operation },
): Promise<void> => {
  using source = openSource(rootfs, mount)
  if (!source) return
  const data = await mountUse(engine, volume, { id, operation })
  try {
    await reachPath(engine, data, operation)
    await fillPlace(mountedPlace(data), { rootfs, mount }, operation)
  } finally {
    await endUseHeld(engine, { driver: volume.driver, name: volume.name, id })
  }
}

/** False where it is certain without a look at the image. */
const mayBeFilled = (engine: Engine, mount: MountPoint, { fresh }: Filling): boolean => {
  const volume = engine.volumes.find(mount.name)
  if (fresh.has(mount.name) || !volume || needsMount(volume) || isForeign(volume)) return true
  const place = plainPlace(engine, mount.name)
  return isUnderWay(place) || isEmpty(place, mount.subpath ?? '')
}

const fillOne = async (
  engine: Engine,
  at: { rootfs: string; mount: MountPoint },
  filling: Filling & { id: string },
): Promise<void> => {
  const { fresh, operation } = filling
  const { name } = at.mount
  const volume = engine.volumes.find(name)
  try {
    if (fresh.has(name)) await fillFresh(engine, at, operation)
    else if (volume && isForeign(volume))
      await fillForeign(engine, volume, { ...at, id: filling.id, operation })
    else if (volume && needsMount(volume)) await fillMounted(engine, volume, { ...at, operation })
    else await fillPlace(plainPlace(engine, name), at, operation)
  } catch (error) {
    throw hasCode(error, overFile) ? error : failure(at.mount, error)
  }
  engine.volumeUsage.touch(name)
}

/** Fills those of a new container's volumes that are empty. The caller holds their names. */
export const fillVolumes = async (
  engine: Engine,
  record: ContainerRecord,
  filling: Filling,
): Promise<void> => {
  const wanted = record.mounts.filter(
    mount => mount.type === 'volume' && mount.copyUp && mayBeFilled(engine, mount, filling),
  )
  if (wanted.length === 0) return
  try {
    const rootfs = await engine.uppers.mount(record.id, rootOptions(record))
    for (const mount of wanted) await fillOne(engine, { rootfs, mount }, { ...filling, id: record.id })
  } finally {
    await engine.uppers.unmount(record.id)
  }
}
