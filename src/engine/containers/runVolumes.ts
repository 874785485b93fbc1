import { lent } from '../../core/disposal.ts'
import { messageOf } from '../../core/errors.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { finishFill, isUnderWay } from '../volumes/fill.ts'
import { mountedOnes, mountHeld, unmountUnused } from '../volumes/mounting.ts'
import { boundOptions } from '../volumes/mountOptions.ts'
import { mountedPlace, plainPlace } from '../volumes/place.ts'
import { endUsesOf, mountUse } from '../volumes/pluginUses.ts'
import { isForeign, needsMount, type VolumeRecord } from '../volumes/types.ts'
import { volumesOf } from '../volumes/users.ts'
import { reachPath } from './bindSources.ts'
import { bindSubpaths, dropPlaces, needsPlace, ownersOfPlaces, withPlaces } from './boundPlaces.ts'
import type { Container } from './container.ts'
import { mountImages, unmountImages } from './imageMounts.ts'
import type { ContainerRecord, MountPoint } from './types.ts'

/** What a container's volumes and images need while it runs. */

/** The record with its volumes and images as the runtime is to bind them. */
export const withBoundVolumes = (engine: Engine, record: ContainerRecord): ContainerRecord => {
  const placed = withPlaces(engine, record)
  return {
    ...placed,
    mounts: placed.mounts.map(point =>
      point.type === 'volume'
        ? { ...point, options: boundOptions(engine.volumes.find(point.name)?.options ?? {}) }
        : point,
    ),
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
  await finishFill(mountedPlace(engine.volumes.data(volume.name)))
}

const makeForeignReady = async (
  engine: Engine,
  { record, id }: Container,
  volume: VolumeRecord & { driver: string },
  operation: Operation,
): Promise<void> => {
  const data = await mountUse(engine, volume, { id, operation })
  await reachPath(engine, data, operation)
  await finishFill(mountedPlace(data))
  for (const point of record.mounts)
    if (point.type === 'volume' && point.name === volume.name) point.source = data
}

/** Has plugins mount what a container has of them, by its id. */
const takeForeign = async (engine: Engine, container: Container, operation: Operation): Promise<void> => {
  for (const name of volumesOf(container)) {
    const volume = engine.volumes.get(name)
    if (!isForeign(volume)) continue
    const ready = (): Promise<void> => makeForeignReady(engine, container, volume, operation)
    await engine.volumes.exclusively([name], ready, operation.signal)
  }
}

const releaseForeign = (engine: Engine, container: Container): Promise<void> =>
  endUsesOf(engine, id => id === container.id)

/** For work on a container that does not run, and whose queue the caller holds. */
export const lendForeign = (
  engine: Engine,
  container: Container,
  operation: Operation,
): Promise<AsyncDisposable> =>
  lent(
    () => takeForeign(engine, container, operation),
    () => releaseForeign(engine, container),
  )

/** At a start. Errors: `not-found` where a volume or the wanted part of it is gone, `internal` where it cannot be mounted. */
export const takeVolumes = async (
  engine: Engine,
  container: Container,
  operation: Operation,
): Promise<void> => {
  const { record } = container
  for (const name of volumesOf(container)) {
    const volume = engine.volumes.get(name)
    if (isForeign(volume) || (!needsMount(volume) && !isUnderWay(plainPlace(engine, name)))) continue
    await engine.volumes.exclusively([name], () => makeReady(engine, volume, operation), operation.signal)
  }
  await takeForeign(engine, container, operation)
  for (const { type, source, subpath } of record.mounts)
    if (type === 'volume' && subpath) await reachPath(engine, source, operation)
  await mountImages(engine, record)
  container.holdsVolumes = true
  eachVolume(record, ({ name, readWrite }) => {
    if (readWrite) engine.volumeUsage.touch(name)
  })
  if (record.mounts.some(needsPlace)) dropPlaces(engine, record.id)
  bindSubpaths(engine, record.id, record.mounts)
  eachVolume(record, ({ name, driver = 'local', destination, readWrite, propagation }) =>
    engine.events.publish('volume', 'mount', name, {
      driver,
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
  if (record.mounts.some(needsPlace)) dropPlaces(engine, record.id)
  await unmountImages(engine, record)
  for (const { name } of mountedOnes(engine, volumesOf(container)))
    await unmountUnused(engine, name, container.id)
  await releaseForeign(engine, container)
  if (!container.holdsVolumes) return
  container.holdsVolumes = false
  eachVolume(record, ({ name, driver = 'local' }) =>
    engine.events.publish('volume', 'unmount', name, { driver, container: record.id }),
  )
}

/** At a start of the daemon: takes away what belongs to no living container. */
export const sweepVolumes = async (engine: Engine, alive: ReadonlySet<string>): Promise<void> => {
  const names = engine.volumes.all().map(({ name }) => name)
  for (const { name } of mountedOnes(engine, names)) await unmountUnused(engine, name)
  void endUsesOf(engine, id => !alive.has(id))
  for (const id of ownersOfPlaces(engine)) {
    if (alive.has(id)) continue
    try {
      dropPlaces(engine, id)
    } catch (error) {
      engine.log.error('what was mounted for a container could not be unmounted', {
        container: id,
        error: messageOf(error),
      })
    }
  }
}
