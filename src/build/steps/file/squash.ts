import type { WorkerPool } from '../../../archive/pool.ts'
import { stackLayer } from '../../../store/layerRecord.ts'
import type { Layer, SnapshotStore } from '../../../store/types.ts'
import type { FileTaskResult } from './fileTask.ts'
import type { SquashTask } from './squashTask.ts'

export interface Squash {
  pool: WorkerPool
  snapshots: SnapshotStore
  /** Of the snapshot that is made. */
  id: string
  /** Bottom first. */
  below: readonly Layer[]
  added: readonly Layer[]
  signal: AbortSignal
}

const module = new URL('./squashTask.ts', import.meta.url).href

/**
 * One snapshot of all that layers add to those below them; nothing stays where it fails. Inodes are not shared with
 * them. Errors: `no-space`, `cancelled`.
 */
export const squashLayers = async ({ pool, snapshots, id, below, added, signal }: Squash): Promise<Layer> => {
  using _held = snapshots.hold([...below, ...added])
  await using target = await snapshots.begin(id, below, { isDirect: true })
  const input: SquashTask = {
    target: { root: target.root, below: target.below, linked: [...target.linked] },
    below: below.map(stackLayer),
    added: added.map(stackLayer),
  }
  const { linked } = (await pool.run('module', { module, input }, { signal })) as FileTaskResult
  return await target.commit({ linked })
}
