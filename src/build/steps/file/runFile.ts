import type { StackLayer } from '../../../archive/merged.ts'
import type { WorkerPool } from '../../../archive/pool.ts'
import type { FileOperation } from '../../graph/types.ts'
import type { FileTask, FileTaskResult } from './fileTask.ts'

/** An input of a FileOperation, as it lies on the disk: nothing of it is mounted. */
export interface FileInput {
  /** Bottom first. A folder of its own is one layer. */
  layers: readonly StackLayer[]
  /** Its files are never changed in place, so that they may be linked to: contexts of clients. */
  isShareable?: boolean
  /** What it is called where something is not found in it. */
  ref?: string
}

/** What a FileOperation writes to: a `PendingSnapshot`, direct or mounted. */
export interface FileTarget {
  readonly root: string
  readonly below: readonly StackLayer[]
  readonly linked: ReadonlySet<number>
}

export interface RunFile<Committed> {
  pool: WorkerPool
  /** By the vertex's inputs. */
  inputs: readonly FileInput[]
  /** Begins a snapshot over the operation's base. Not direct: it is to be mounted. */
  begin(options: {
    isDirect: boolean
  }): Promise<
    FileTarget & AsyncDisposable & { commit(options: { linked: readonly number[] }): Promise<Committed> }
  >
  signal: AbortSignal
}

const module = new URL('./fileTask.ts', import.meta.url).href

/** Archives bring names that may be links of the layers below: only a mount shows those to the extractor. */
const mayUnpack = ({ actions }: FileOperation): boolean =>
  actions.some(action => action.kind === 'copy' && action.unpack)

/**
 * Does an operation on files and keeps what it wrote. Nothing stays where it fails. Errors: BerthError in BuildKit's
 * words (`not-found`, `bad-request`), `no-space`, `cancelled`.
 */
export const runFile = async <Committed>(
  operation: FileOperation,
  { pool, inputs, begin, signal }: RunFile<Committed>,
): Promise<Committed> => {
  await using target = await begin({ isDirect: !mayUnpack(operation) })
  const task: FileTask = {
    target: { root: target.root, below: target.below, linked: [...target.linked] },
    inputs: inputs.map(({ layers, isShareable = false, ref = 'input' }) => ({ layers, isShareable, ref })),
    actions: operation.actions,
  }
  const { linked } = (await pool.run('module', { module, input: task }, { signal })) as FileTaskResult
  return await target.commit({ linked })
}
