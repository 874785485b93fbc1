import { mkdirSync, readdirSync, rmdirSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { hasCode, messageOf } from '../../core/errors.ts'
import { owned } from '../../linux/files.ts'
import { MNT_DETACH, MS_BIND, makePrivateMount, mount, unmount } from '../../linux/mount.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { finishFill, isUnderWay } from '../volumes/fill.ts'
import { mountedOnes, mountHeld, unmountUnused } from '../volumes/mounting.ts'
import { boundOptions } from '../volumes/mountOptions.ts'
import { mountedPlace, plainPlace } from '../volumes/place.ts'
import { openSubpath } from '../volumes/subpath.ts'
import { needsMount, type VolumeRecord } from '../volumes/types.ts'
import { volumesOf } from '../volumes/users.ts'
import { reachPath } from './bindSources.ts'
import type { Container } from './container.ts'
import type { ContainerRecord, MountPoint } from './types.ts'

/**
 * What a container's volumes need while it runs: a part of a volume is bound
 * below exec-root by the very directory that was found to be inside, so that
 * whoever writes to the volume cannot lead the runtime elsewhere.
 */

const folder = (engine: Engine): string => path.join(engine.settings.execRoot, 'subpaths')

const placesOf = (engine: Engine, id: string): string => path.join(folder(engine), id)

const asBound = (engine: Engine, id: string, point: MountPoint, index: number): MountPoint => {
  return {
    ...point,
    options: boundOptions(engine.volumes.find(point.name)?.options ?? {}),
    ...(point.subpath ? { source: path.join(placesOf(engine, id), String(index)) } : {}),
  }
}

/** The record with its volumes as the runtime is to bind them. */
export const withBoundVolumes = (engine: Engine, record: ContainerRecord): ContainerRecord => ({
  ...record,
  mounts: record.mounts.map((point, index) =>
    point.type === 'volume' ? asBound(engine, record.id, point, index) : point,
  ),
})

const bindSubpath = (target: string, { source, subpath = '' }: MountPoint): void => {
  using found = owned(openSubpath(source, subpath))
  const link = `/proc/self/fd/${found.fd}`
  if (statSync(link).isDirectory()) mkdirSync(target, { mode: 0o700 })
  else writeFileSync(target, '')
  mount({ source: link, target, flags: MS_BIND })
}

const bindSubpaths = (engine: Engine, { id, mounts }: ContainerRecord): void => {
  if (!mounts.some(({ subpath }) => subpath)) return
  dropSubpaths(engine, id)
  mkdirSync(folder(engine), { recursive: true, mode: 0o700 })
  makePrivateMount(folder(engine))
  mkdirSync(placesOf(engine, id), { mode: 0o700 })
  for (const [index, point] of mounts.entries())
    if (point.subpath) bindSubpath(path.join(placesOf(engine, id), String(index)), point)
}

const namesIn = (directory: string): string[] => {
  try {
    return readdirSync(directory)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
}

/** Never by a recursive removal: a place that is still mounted has the volume's own files in it. */
const dropSubpath = (target: string): void => {
  try {
    unmount(target, MNT_DETACH)
  } catch (error) {
    if (!hasCode(error, 'EINVAL')) throw error
  }
  if (statSync(target).isDirectory()) rmdirSync(target)
  else unlinkSync(target)
}

const dropSubpaths = (engine: Engine, id: string): void => {
  for (const name of namesIn(placesOf(engine, id))) dropSubpath(path.join(placesOf(engine, id), name))
  try {
    rmdirSync(placesOf(engine, id))
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
  }
}

const eachVolume = (record: ContainerRecord, use: (point: MountPoint) => void): void => {
  for (const point of record.mounts) if (point.type === 'volume') use(point)
}

/** Mounted, and without the rest of a filling that was cut off: nobody sees half of one. The caller holds its name. */
const makeReady = async (engine: Engine, volume: VolumeRecord, operation: Operation): Promise<void> => {
  if (!needsMount(volume)) return await finishFill(plainPlace(engine, volume.name))
  await mountHeld(engine, volume, operation)
  await reachPath(engine, engine.volumes.data(volume.name), operation)
  await finishFill(mountedPlace(engine, volume.name))
}

/** At a start. Errors: `not-found` where a volume or the wanted part of it is gone, `internal` where it cannot be mounted. */
export const takeVolumes = async (
  engine: Engine,
  container: Container,
  operation: Operation,
): Promise<void> => {
  const { record } = container
  for (const name of volumesOf(container)) {
    const volume = engine.volumes.get(name)
    if (!needsMount(volume) && !isUnderWay(plainPlace(engine, name))) continue
    await engine.volumes.exclusively([name], () => makeReady(engine, volume, operation), operation.signal)
  }
  for (const { source, subpath } of record.mounts) if (subpath) await reachPath(engine, source, operation)
  container.holdsVolumes = true
  eachVolume(record, ({ name, readWrite }) => {
    if (readWrite) engine.volumeUsage.touch(name)
  })
  bindSubpaths(engine, record)
  eachVolume(record, ({ name, destination, readWrite, propagation }) =>
    engine.events.publish('volume', 'mount', name, {
      driver: 'local',
      container: record.id,
      destination,
      'read/write': String(readWrite),
      propagation,
    }),
  )
}

/** When a run is cleared away. Idempotent. */
export const releaseVolumes = async (engine: Engine, container: Container): Promise<void> => {
  const { record } = container
  if (record.mounts.some(({ subpath }) => subpath)) dropSubpaths(engine, record.id)
  for (const { name } of mountedOnes(engine, volumesOf(container)))
    await unmountUnused(engine, name, container.id)
  if (!container.holdsVolumes) return
  container.holdsVolumes = false
  eachVolume(record, ({ name }) =>
    engine.events.publish('volume', 'unmount', name, { driver: 'local', container: record.id }),
  )
}

/** At a start of the daemon: takes away what belongs to no living container. */
export const sweepVolumes = async (engine: Engine, alive: ReadonlySet<string>): Promise<void> => {
  const names = engine.volumes.all().map(({ name }) => name)
  for (const { name } of mountedOnes(engine, names)) await unmountUnused(engine, name)
  for (const id of namesIn(folder(engine))) {
    if (alive.has(id)) continue
    try {
      dropSubpaths(engine, id)
    } catch (error) {
      engine.log.error('a part of a volume could not be unmounted', {
        container: id,
        error: messageOf(error),
      })
    }
  }
}
