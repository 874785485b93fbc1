import { UndoStack } from '../../core/disposal.ts'
import { conflict, messageOf } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import type { Put } from '../../store/database.ts'
import { Filters } from '../../wire/filters.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { refuseMountsBelow, setAside } from './homes.ts'
import { unmountHeld } from './mounting.ts'
import { anonymousLabel, type VolumeRecord } from './types.ts'
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
  const aside: string[] = []
  for (const { name } of records) {
    await unmountHeld(engine, name)
    refuseMountsBelow(volumes, name)
    const { path, putBack } = setAside(volumes, name)
    undo.push(`volume ${name}`, putBack)
    aside.push(path)
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
  for (const path of aside) discard(engine, path)
}

/** What cannot be moved to the trash now has no record any more: the next start tries again. */
const discard = (engine: Engine, path: string): void => {
  try {
    engine.volumes.trash.take(path)
  } catch (error) {
    engine.log.error('a removed volume is left', { path, error: messageOf(error) })
  }
}

const eraseUnused = async (engine: Engine, record: VolumeRecord): Promise<void> => {
  const users = usersOf(engine, record.name).map(({ id }) => id)
  if (users.length > 0) throw conflict(`remove ${record.name}: volume is in use - [${users.join(', ')}]`)
  await eraseVolumes(engine, [record], puts => engine.database.write(puts, { durable: true }))
}

/** `DELETE /volumes/{name}`. Errors: 404 where there is none and `force` is not given, 409 where a container uses it. */
export const removeVolume = (engine: Engine, name: string, { force }: { force: boolean }): Promise<void> =>
  engine.volumes.exclusively([name], async () => {
    const record = force ? engine.volumes.find(name) : engine.volumes.get(name)
    if (record) await eraseUnused(engine, record)
  })

/** Docker takes a volume with options for something that is not here, and so for nothing to prune. */
const isPrunable = (engine: Engine, { name, options }: VolumeRecord): boolean =>
  Object.keys(options).length === 0 && usersOf(engine, name).length === 0

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
