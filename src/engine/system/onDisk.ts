import { lstat, readdir } from 'node:fs/promises'
import path from 'node:path'
import { hasCode } from '../../core/errors.ts'
import { containerDirectory } from '../containers/logConfig.ts'
import type { Engine } from '../engine.ts'
import { isForeign, needsMount } from '../volumes/types.ts'

/** What takes the data root's disk, such that the sum is what `du` says. */

/** Blocks of one file or directory, without what is below it; 0 where it is not there. */
const blocksOf = async (file: string): Promise<number> => {
  try {
    return (await lstat(file)).blocks * 512
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return 0
    throw error
  }
}

/** Blocks of a whole directory; 0 where it is not there, or goes meanwhile. */
const measured = async (engine: Engine, directory: string): Promise<number> => {
  try {
    return (await engine.pool.run('measure', { directory })).diskBytes
  } catch (error) {
    if (hasCode(error, 'not-found')) return 0
    throw error
  }
}

const sum = async <T>(items: Iterable<T> | AsyncIterable<T>, bytes: (item: T) => Promise<number>) => {
  let total = 0
  for await (const item of items) total += await bytes(item)
  return total
}

/** Files and folders of the data root that belong to no object: the database, the lock, the folders themselves. */
const ownFiles = async (root: string): Promise<number> => {
  const names = await readdir(root)
  const top = await sum(names, name => blocksOf(path.join(root, name)))
  return top + (await blocksOf(root)) + (await blocksOf(path.join(root, 'blobs', 'sha256')))
}

/** Bytes as `du` counts them, by what owns them; what nothing owns is in none of them. */
export const onDisk = async (engine: Engine): Promise<object> => {
  const { dataRoot } = engine.settings
  const containers = engine.containers.all()
  return {
    BlobBytes:
      (await sum(engine.content.list(), blob => blocksOf(engine.content.path(blob.digest)))) +
      (await sum(engine.content.partials(), ({ path }) => blocksOf(path))),
    LayerBytes:
      (await engine.layers.list()).reduce((total, layer) => total + layer.diskBytes, 0) +
      (await sum(engine.layers.replaced(), home => measured(engine, home))) +
      (await measured(engine, path.join(dataRoot, 'init'))),
    QuarantineBytes: await measured(engine, path.join(dataRoot, 'quarantine')),
    ContainerBytes: await sum(await engine.uppers.list(), id =>
      measured(engine, path.join(dataRoot, 'uppers', id)),
    ),
    LogBytes: await sum(containers, container =>
      measured(engine, containerDirectory(dataRoot, container.id)),
    ),
    Logs: {
      CountedBytes: engine.logLedger.total,
      BudgetBytes: engine.settings.logLimits.budget,
      DroppedBytes: engine.logLedger.dropped,
    },
    VolumeBytes: await sum(
      engine.volumes.all().filter(record => !isForeign(record)),
      async record =>
        needsMount(record)
          ? await blocksOf(engine.volumes.home(record.name))
          : (await engine.volumeUsage.sizeOf(record)).diskBytes,
    ),
    BuildBytes:
      (await measured(engine, path.join(dataRoot, 'snapshots'))) +
      (await measured(engine, path.join(dataRoot, 'build'))),
    DatabaseBytes: await ownFiles(dataRoot),
  }
}
