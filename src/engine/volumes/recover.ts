import { existsSync, readdirSync, renameSync, statSync } from 'node:fs'
import path from 'node:path'
import { formatNanos, nowText } from '../../core/clock.ts'
import { messageOf } from '../../core/errors.ts'
import { rootOf } from '../../linux/idMaps.ts'
import { makeTreesFolder } from '../../linux/unrelatedTrees.ts'
import type { Engine } from '../engine.ts'
import { finishFill } from './fill.ts'
import { makeData, ownerOfPassing } from './homes.ts'
import { plainPlace } from './place.ts'
import { anonymousLabel, type VolumeRecord } from './types.ts'
import { Volumes, volumePut } from './volumes.ts'

/** Brings records and folders together again, whatever a crash or a person left. */

/** As records were while there were none but anonymous volumes. */
interface FormerRecord {
  name: string
  container: string
}

const upgraded = (engine: Engine, { name, container }: FormerRecord): VolumeRecord => ({
  name,
  created: engine.containers.byId(container)?.record.created ?? nowText(),
  labels: { [anonymousLabel]: '' },
  options: {},
})

const loadRecords = async (engine: Engine): Promise<void> => {
  const former: VolumeRecord[] = []
  for (const { value } of await Volumes.stored(engine.database)) {
    const isFormer = (value as object) && 'container' in (value as object)
    const record = isFormer ? upgraded(engine, value as FormerRecord) : (value as VolumeRecord)
    if (isFormer) former.push(record)
    engine.volumes.admit(record)
  }
  // Nothing is written where nothing changed, so that a full disk keeps no daemon from starting.
  if (former.length > 0) await engine.database.write(former.map(volumePut), { durable: false })
}

/** A home under a passing name gets its own back where the record is there, and goes where not. */
const settlePassing = (engine: Engine, entry: string, name: string): void => {
  const { volumes } = engine
  const isWanted = volumes.find(name) !== undefined && !existsSync(volumes.home(name))
  if (isWanted) renameSync(volumes.home(entry), volumes.home(name))
  else volumes.trash.take(volumes.home(entry))
}

/** A volume that somebody copied here, by its folder. */
const adopt = async (engine: Engine, name: string): Promise<void> => {
  const created = formatNanos(statSync(engine.volumes.home(name), { bigint: true }).ctimeNs)
  const record: VolumeRecord = { name, created, labels: {}, options: {} }
  await engine.database.write([volumePut(record)], { durable: true })
  engine.volumes.admit(record)
  engine.log.info('a folder without a record was taken in as a volume', { volume: name })
}

const settle = async (engine: Engine, entry: string): Promise<void> => {
  const { volumes } = engine
  const passing = ownerOfPassing(entry)
  if (passing !== undefined) settlePassing(engine, entry, passing)
  else if (volumes.find(entry)) await finishFill(plainPlace(engine, entry))
  else if (existsSync(volumes.data(entry))) await adopt(engine, entry)
}

/** Runs once, after the containers' records are read and before any container starts. */
export const recoverVolumes = async (engine: Engine): Promise<void> => {
  const { volumes, settings } = engine
  const { idMaps } = settings
  makeTreesFolder(volumes.folder, 0o701)
  await loadRecords(engine)
  for (const entry of readdirSync(volumes.folder)) {
    try {
      await settle(engine, entry)
    } catch (error) {
      // One broken folder, or a full disk, must not keep the daemon from starting.
      engine.log.error('a folder of a volume could not be set right', {
        path: path.join(volumes.folder, entry),
        error: messageOf(error),
      })
    }
  }
  for (const { name, driver } of volumes.all()) {
    if (driver !== undefined || existsSync(volumes.home(name))) continue
    engine.log.warn('the folder of a volume was gone: it is empty now', { volume: name })
    makeData(volumes.home(name), idMaps && rootOf(idMaps))
  }
}
