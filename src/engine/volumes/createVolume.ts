import type { UndoStack } from '../../core/disposal.ts'
import { UndoStack as Undo } from '../../core/disposal.ts'
import { failpoint } from '../../core/failpoint.ts'
import type { Engine } from '../engine.ts'
import { checkDriver, decideVolume } from './decideVolume.ts'
import { makeHome, newHome, placeHome } from './homes.ts'
import type { VolumeRecord, VolumeWish } from './types.ts'
import { volumeDrop, volumePut } from './volumes.ts'

/**
 * Making volumes: a home under a passing name, then the record, then the name.
 * A crash before the record leaves a home that the next start removes; one
 * after it, a home that the next start gives its name.
 */

/** Makes the homes of new volumes. The caller holds their names. */
export const stageVolumes = (engine: Engine, records: readonly VolumeRecord[], undo: UndoStack): void => {
  const { volumes } = engine
  for (const { name } of records) {
    undo.push(`volume ${name}`, () => volumes.trash.take(newHome(volumes, name)))
    makeHome(volumes, name)
  }
  failpoint('volume.create.staged')
}

/** Gives new volumes their names: their records are durable. */
export const placeVolumes = (engine: Engine, records: readonly VolumeRecord[]): void => {
  for (const record of records) {
    placeHome(engine.volumes, record.name)
    engine.volumes.admit(record)
  }
  failpoint('volume.create.placed')
}

export const volumeCreated = (engine: Engine, { name }: VolumeRecord): void =>
  engine.events.publish('volume', 'create', name, { driver: 'local' })

const make = async (engine: Engine, record: VolumeRecord): Promise<void> => {
  await using undo = new Undo((step, error) =>
    engine.log.error(`undo of a volume's creation: ${step}`, { volume: record.name, error }),
  )
  stageVolumes(engine, [record], undo)
  undo.push('record', () => engine.database.write([volumeDrop(record.name)], { durable: true }))
  await engine.database.write([volumePut(record)], { durable: true })
  failpoint('volume.create.recorded')
  placeVolumes(engine, [record])
  undo.commit()
  volumeCreated(engine, record)
}

/** As `createVolume`, for a caller that holds the name. */
export const ensureVolume = async (engine: Engine, wish: VolumeWish): Promise<VolumeRecord> => {
  checkDriver(wish)
  const existing = engine.volumes.find(wish.name)
  if (existing) return existing
  const record = decideVolume(wish)
  await make(engine, record)
  return record
}

/**
 * `POST /volumes/create`. Of a name that is there already it gives that volume,
 * whatever its options, as Docker does. It is durable when this settles.
 */
export const createVolume = (engine: Engine, wish: VolumeWish): Promise<VolumeRecord> =>
  engine.volumes.exclusively([wish.name], () => ensureVolume(engine, wish))
