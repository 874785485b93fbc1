import { existsSync } from 'node:fs'
import { UndoStack } from '../../core/disposal.ts'
import { conflict, hasCode, messageOf, prefixed } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { endLimit } from '../../linux/projectQuota.ts'
import type { Put } from '../../store/database.ts'
import { Filters } from '../../wire/filters.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { volumeLimit } from './driverOptions.ts'
import { type ForeignVolume, forgetForeign, getForeign } from './foreign.ts'
import { refuseMountsBelow, setAside } from './homes.ts'
import { unmountHeld } from './mounting.ts'
import { removeIn } from './pluginDriver.ts'
import { endUseHeld } from './pluginUses.ts'
import { anonymousLabel, isForeign, type VolumeRecord } from './types.ts'
import { usersOf } from './users.ts'
import { volumeDrop } from './volumes.ts'

/**
 * Takes volumes away that nobody uses, whose names the caller holds: out of the
 * way first, then their records in one transaction with whatever `commit` adds.
 * After a crash in between the next start puts back what still has a record.
 */
export const eraseVolumes = async (
  engine: Engine,
  records: readonly VolumeRecord[],
  commit: (puts: Put[]) => Promise<void>,
): Promise<void> => {
  const { volumes } = engine
  await using undo = new UndoStack((step, error) =>
    engine.log.error(`undo of a volume's removal: ${step}`, { error: messageOf(error) }),
  )
  const aside: { path: string; limited: boolean }[] = []
  for (const { name, options } of records) {
    await unmountHeld(engine, name)
    refuseMountsBelow(volumes, name)
    const { path, putBack } = setAside(volumes, name)
    undo.push(`volume ${name}`, putBack)
    aside.push({ path, limited: volumeLimit(options) > 0 })
  }
  failpoint('volume.remove.aside')
  await commit(records.map(({ name }) => volumeDrop(name)))
  undo.commit()
  for (const { name } of records) {
    volumes.forget(name)
    engine.volumeUsage.touch(name)
  }
  failpoint('volume.remove.recorded')
  for (const { name } of records) engine.events.publish('volume', 'destroy', name, { driver: 'local' })
  for (const { path, limited } of aside) discard(engine, path, limited)
}

/** What cannot be moved to the trash now has no record any more: the next start tries again. */
const discard = (engine: Engine, path: string, limited: boolean): void => {
  try {
    if (limited && existsSync(path)) endLimit(path)
    engine.volumes.trash.take(path)
  } catch (error) {
    engine.log.error('a removed volume is left', { path, error: messageOf(error) })
  }
}

const refuseUsed = (engine: Engine, { name }: VolumeRecord): void => {
  const users = usersOf(engine, name).map(({ id }) => id)
  if (users.length > 0) throw conflict(`remove ${name}: volume is in use - [${users.join(', ')}]`)
}

/** The plugin removes it before the record goes: after a crash in between the plugin says that there is none. */
export const eraseForeign = async (engine: Engine, record: ForeignVolume['record']): Promise<void> => {
  for (const use of engine.pluginUses.all()) if (use.name === record.name) await endUseHeld(engine, use)
  await removeIn(engine, record.driver, record.name)
  failpoint('volume.plugin.removed')
  await forgetForeign(engine, record)
  engine.events.publish('volume', 'destroy', record.name, { driver: record.driver })
}

/** With `force` a volume is forgotten that its plugin has lost or will not remove. */
const removeForeign = async (engine: Engine, name: string, force: boolean): Promise<void> => {
  const record = engine.volumes.find(name)
  const found = await getForeign(engine, name).catch(async error => {
    if (!hasCode(error, 'not-found')) throw error
    if (record && (force || usersOf(engine, name).length === 0)) await forgetForeign(engine, record)
    if (force) return undefined
    throw error
  })
  if (!found) return
  refuseUsed(engine, found.record)
  try {
    await eraseForeign(engine, found.record)
  } catch (error) {
    if (force && record) await forgetForeign(engine, record)
    throw prefixed(`remove ${name}`, error)
  }
}

const eraseUnused = async (engine: Engine, record: VolumeRecord): Promise<void> => {
  refuseUsed(engine, record)
  await eraseVolumes(engine, [record], puts => engine.database.write(puts, { durable: true }))
}

/** `DELETE /volumes/{name}`. Errors: 404 where there is none and `force` is not given, 409 where a container uses it. */
export const removeVolume = (engine: Engine, name: string, { force }: { force: boolean }): Promise<void> =>
  engine.volumes.exclusively([name], async () => {
    const record = engine.volumes.find(name)
    if (record && !isForeign(record)) await eraseUnused(engine, record)
    else await removeForeign(engine, name, force)
  })

/** Docker takes a volume with options for something that is not here, and so for nothing to prune. */
const isPrunable = (engine: Engine, { name, options, driver }: VolumeRecord): boolean =>
  driver === undefined && Object.keys(options).length === 0 && usersOf(engine, name).length === 0

const pruning = new WeakSet<Engine>()

interface PruneOptions {
  filters: string | undefined
  /** Before API 1.42 named volumes went, too. */
  all: boolean
  operation: Operation
}

/** `POST /volumes/prune` */
export const pruneVolumes = async (
  engine: Engine,
  { filters: text, all, operation }: PruneOptions,
): Promise<{ VolumesDeleted: string[]; SpaceReclaimed: number }> => {
  const filters = Filters.parse(text, ['label', 'label!', 'all'])
  const named = all || (filters.flag('all') ?? false)
  const isWanted = ({ labels }: VolumeRecord): boolean =>
    (named || anonymousLabel in labels) &&
    filters.labels('label', labels) &&
    !(filters.has('label!') && filters.labels('label!', labels))
  if (pruning.has(engine)) throw conflict('a prune operation is already running')
  pruning.add(engine)
  try {
    return await pruneAll(engine, engine.volumes.all().filter(isWanted), operation)
  } finally {
    pruning.delete(engine)
  }
}

const pruneAll = async (engine: Engine, records: readonly VolumeRecord[], operation: Operation) => {
  const removed: string[] = []
  let space = 0
  for (const { name } of records) {
    operation.at(`removing ${name}`)
    await engine.volumes.exclusively([name], async () => {
      const record = engine.volumes.find(name)
      if (!record || !isPrunable(engine, record)) return
      try {
        const { size } = await engine.volumeUsage.sizeOf(record)
        await eraseUnused(engine, record)
        removed.push(name)
        space += size
      } catch (error) {
        engine.log.warn('a volume could not be pruned', { volume: name, error: messageOf(error) })
      }
      failpoint('volume.prune.one')
    })
  }
  engine.events.publish('volume', 'prune', '', { reclaimed: String(space) })
  return { VolumesDeleted: removed, SpaceReclaimed: space }
}
