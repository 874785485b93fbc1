import { UndoStack } from '../../core/disposal.ts'
import { messageOf } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import type { HostConfig } from '../../wire/container.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { ensureVolume, placeVolumes, stageVolumes, volumeCreated } from '../volumes/createVolume.ts'
import { decideVolume, named } from '../volumes/decideVolume.ts'
import { findElsewhere } from '../volumes/foreign.ts'
import { eraseForeign, eraseVolumes } from '../volumes/removeVolume.ts'
import { isForeign, type VolumeRecord, type VolumeWish } from '../volumes/types.ts'
import { volumeDrop, volumePut } from '../volumes/volumes.ts'
import type { Container } from './container.ts'
import { fillVolumes } from './fillVolumes.ts'
import { cleanPlace } from './mountRequests.ts'
import type { ContainerRecord, MountPoint } from './types.ts'

/** A container's volumes at its creation: found, or made with it. */

const wishOf = (mount: MountPoint, hostConfig: HostConfig): VolumeWish => {
  const asked = hostConfig.Mounts?.find(
    ({ Type, Target = '' }) => Type === 'volume' && cleanPlace(Target) === mount.destination,
  )?.VolumeOptions
  return {
    name: mount.name,
    driver: asked ? (asked.DriverConfig?.Name ?? '') : (hostConfig.VolumeDriver ?? ''),
    options: asked?.DriverConfig?.Options ?? {},
    labels: asked?.Labels ?? {},
  }
}

/** What each volume is to be where it is not there yet; those without a name get one. The first mount of a volume counts. */
const wishesOf = (
  engine: Engine,
  { mounts, hostConfig }: ContainerRecord,
  inherited: readonly MountPoint[],
): VolumeWish[] => {
  const wishes = new Map<string, VolumeWish>()
  for (const mount of mounts) {
    if (mount.type !== 'volume' || inherited.includes(mount)) continue
    const wish = named(wishOf(mount, hostConfig))
    mount.name = wish.name
    mount.source = engine.volumes.data(wish.name)
    if (!wishes.has(wish.name)) wishes.set(wish.name, wish)
  }
  return [...wishes.values()]
}

/**
 * Makes a container known and durable together with the volumes that are made
 * for it. Until then nobody else uses, fills or removes any of its volumes.
 */
export const addWithVolumes = (
  engine: Engine,
  record: ContainerRecord,
  { inherited, operation }: { inherited: readonly MountPoint[]; operation: Operation },
): Promise<Container> => {
  const wishes = wishesOf(engine, record, inherited)
  const names = record.mounts.flatMap(({ type, name }) => (type === 'volume' ? [name] : []))
  operation.at('waiting for others that use its volumes')
  return engine.volumes.exclusively(
    names,
    async () => {
      // Another container's may have gone since its mounts were read.
      for (const name of names) if (!wishes.some(wish => wish.name === name)) engine.volumes.get(name)
      return await add(engine, record, { wishes, operation })
    },
    operation.signal,
  )
}

/** Foreign ones, which their plugins must still have, and those whose options name a device. */
const isMadeFirst = async (engine: Engine, wish: VolumeWish): Promise<boolean> => {
  const found = engine.volumes.find(wish.name)
  if (found) return isForeign(found) || !['', 'local'].includes(wish.driver)
  if (!['', 'local'].includes(wish.driver) || Object.keys(wish.options).length > 0) return true
  return wish.driver === '' && (await findElsewhere(engine, wish.name)) !== undefined
}

const discard = (engine: Engine, volume: VolumeRecord): Promise<void> =>
  isForeign(volume)
    ? eraseForeign(engine, volume)
    : eraseVolumes(engine, [volume], puts => engine.database.write(puts, { durable: true }))

/** Only a plugin knows where its volumes are, and only while they are mounted. */
const nameDrivers = (engine: Engine, { mounts }: ContainerRecord): void => {
  for (const mount of mounts) {
    const driver = mount.type === 'volume' ? engine.volumes.find(mount.name)?.driver : undefined
    if (driver !== undefined) Object.assign(mount, { driver, source: '' })
  }
}

const add = async (
  engine: Engine,
  record: ContainerRecord,
  { wishes, operation }: { wishes: readonly VolumeWish[]; operation: Operation },
): Promise<Container> => {
  await using undo = new UndoStack((step, error) =>
    engine.log.error(`undo of create: ${step}`, { container: record.id, error: messageOf(error) }),
  )
  // These are mounted to be filled, so they come first.
  for (const wish of wishes)
    if (await isMadeFirst(engine, wish)) {
      const { record: made, isNew } = await ensureVolume(engine, wish)
      if (isNew) undo.push(`volume ${wish.name}`, () => discard(engine, made))
    }
  nameDrivers(engine, record)
  const fresh = wishes
    .filter(({ name }) => !engine.volumes.find(name))
    .map(wish => decideVolume(engine, wish))
  stageVolumes(engine, fresh, undo)
  operation.at('filling its volumes')
  await fillVolumes(engine, record, { fresh: new Set(fresh.map(({ name }) => name)), operation })
  operation.at('recording it')
  failpoint('create.volumes')
  const container = await engine.containers.add(record, fresh.map(volumePut))
  undo.push('record', () =>
    engine.containers.delete(
      container,
      fresh.map(({ name }) => volumeDrop(name)),
    ),
  )
  failpoint('create.recorded')
  placeVolumes(engine, fresh)
  undo.commit()
  for (const volume of fresh) volumeCreated(engine, volume)
  return container
}
