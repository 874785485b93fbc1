import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import type { PackLayerTask } from '../archive/packLayer.ts'
import type { WorkerPool } from '../archive/pool.ts'
import { internal } from '../core/errors.ts'
import { failpoint } from '../core/failpoint.ts'
import type { Digest } from '../oci/digest.ts'
import { unfinishedName } from './durable.ts'
import { recordBlocks, stackLayer } from './layerRecord.ts'
import { isUnmoved, moveLeavingLink } from './movedFolder.ts'
import { replaceSnapshot, type SnapshotRecord, snapshotLayer } from './snapshotRecord.ts'
import type { Layer, LayerStore, SealOptions } from './types.ts'

/** How a snapshot becomes a layer that is known by its diff id. */

/** How a layer is packed. */
export const packingOf = (layer: Layer, epoch?: number): PackLayerTask => {
  const { path, record } = stackLayer(layer)
  return {
    directory: path,
    hasRoot: layer.root !== undefined,
    ...(record === undefined ? {} : { record }),
    ...(epoch === undefined ? {} : { epoch }),
  }
}

/** The digest of an archive, whose bytes are given to who wants them. */
export const digestArchive = async (
  pool: WorkerPool,
  task: PackLayerTask,
  { through, signal }: SealOptions,
): Promise<Digest> => {
  const options = signal ? { signal } : {}
  if (!through) return await pool.run('layerDigest', task, options)
  let digest: Digest | undefined
  const bytes = async function* (): AsyncGenerator<Buffer> {
    digest = yield* pool.stream('packLayer', task, options)
  }
  const archive = Readable.from(bytes(), { objectMode: false })
  try {
    await through(archive)
  } finally {
    archive.destroy()
  }
  if (digest === undefined) throw internal(`the archive of ${task.directory} was not read to its end`)
  return digest
}

/**
 * Gives the snapshot's folder to the layers, or, where they have one already, to `discard`: a link to the layer takes
 * its place. The record says so first: with the folder still there, that is not done yet.
 */
export const adoptSnapshot = async (
  layers: LayerStore,
  home: string,
  { record, diffId, discard }: { record: SnapshotRecord; diffId: Digest; discard(folder: string): void },
): Promise<{ sealed: SnapshotRecord; layer: Layer }> => {
  const folder = snapshotLayer(home)
  const { size, diskBytes, entries, opaqueRoot, root } = record
  const sealed = { ...record, sealed: diffId }
  await replaceSnapshot(home, sealed)
  failpoint('snapshots.sealing')
  const layer = await layers.adopt(folder, {
    diffId,
    size,
    diskBytes: diskBytes + (await recordBlocks(folder)),
    entries,
    opaqueRoot,
    ...(root ? { root } : {}),
  })
  if (isUnmoved(folder)) {
    const away = join(home, '..', unfinishedName())
    moveLeavingLink(folder, away, dirname(layer.path))
    discard(away)
  }
  return { sealed, layer }
}
