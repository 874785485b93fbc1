import { nowText } from '../../core/clock.ts'
import type { UndoStack } from '../../core/disposal.ts'
import { UndoStack as Undo } from '../../core/disposal.ts'
import { prefixed } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { rootOf } from '../../linux/idMaps.ts'
import type { Engine } from '../engine.ts'
import { decideVolume } from './decideVolume.ts'
import { volumeLimit } from './driverOptions.ts'
import { checkExisting, findElsewhere } from './foreign.ts'
import { makeHome, newHome, placeHome } from './homes.ts'
import { createIn, getIn, removeIn } from './pluginDriver.ts'
import { driverOf, type VolumeRecord, type VolumeWish } from './types.ts'
import { volumeDrop, volumePut } from './volumes.ts'

/**
 * Making volumes: a home under a passing name, then the record, then the name.
 * A crash before the record leaves a home that the next start removes; one
 * after it, a home that the next start gives its name.
 */

/** Makes the homes of new volumes. The caller holds their names. */
export const stageVolumes = (engine: Engine, records: readonly VolumeRecord[], undo: UndoStack): void => {
  const { volumes, settings } = engine
  const { idMaps } = settings
  for (const { name, options } of records) {
    undo.push(`volume ${name}`, () => volumes.trash.take(newHome(volumes, name)))
    makeHome(volumes, name, { limit: volumeLimit(options), owner: idMaps && rootOf(idMaps) })
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

export const volumeCreated = (engine: Engine, record: VolumeRecord): void =>
  engine.events.publish('volume', 'create', record.name, { driver: driverOf(record) })

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

/**
 * A plugin makes it before the record is written: a crash in between leaves a
 * volume that the plugin tells of, and that is taken as it is when it is asked for again.
 */
const makeForeign = async (engine: Engine, wish: VolumeWish): Promise<VolumeRecord> => {
  const { name, driver, labels, options } = wish
  const record: VolumeRecord = { name, driver, created: nowText(), labels, options }
  await using undo = new Undo((step, error) =>
    engine.log.error(`undo of a volume's creation: ${step}`, { volume: name, driver, error }),
  )
  if (!(await getIn(engine, driver, name))) {
    await createIn(engine, driver, wish)
    undo.push('volume', () => removeIn(engine, driver, name))
    failpoint('volume.plugin.created')
  }
  await engine.database.write([volumePut(record)], { durable: true })
  failpoint('volume.create.recorded')
  engine.volumes.admit(record)
  undo.commit()
  volumeCreated(engine, record)
  return record
}

/** One that a plugin has already is taken in when somebody asks for it without a driver. */
const adopt = async (engine: Engine, record: VolumeRecord): Promise<VolumeRecord> => {
  await engine.database.write([volumePut(record)], { durable: true })
  engine.volumes.admit(record)
  return record
}

/** As `createVolume`, for a caller that holds the name. `isNew`: it was made for this wish. */
export const ensureVolume = async (
  engine: Engine,
  wish: VolumeWish,
): Promise<{ record: VolumeRecord; isNew: boolean }> => {
  const found = engine.volumes.find(wish.name)
  const existing = found && (await checkExisting(engine, found, wish))
  if (existing) return { record: existing, isNew: false }
  if (wish.driver !== '' && wish.driver !== 'local')
    try {
      return { record: await makeForeign(engine, wish), isNew: true }
    } catch (error) {
      throw prefixed(`create ${wish.name}`, error)
    }
  const elsewhere = wish.driver === '' ? await findElsewhere(engine, wish.name) : undefined
  if (elsewhere) return { record: await adopt(engine, elsewhere.record), isNew: false }
  const record = decideVolume(engine, wish)
  await make(engine, record)
  return { record, isNew: true }
}

/**
 * `POST /volumes/create`. Of a name that is there already it gives that volume,
 * whatever its options, as Docker does. It is durable when this settles.
 */
export const createVolume = (engine: Engine, wish: VolumeWish): Promise<VolumeRecord> =>
  engine.volumes.exclusively([wish.name], async () => (await ensureVolume(engine, wish)).record)
