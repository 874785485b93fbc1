import type { IdMaps } from '../linux/idMaps.ts'
import type { Digest } from '../oci/digest.ts'
import type { TreeChange, TreeKind } from './changes.ts'
import type { CompareTask, Comparison } from './compare.ts'
import type { CompleteTask } from './complete.ts'
import type { ComposeTask } from './compose.ts'
import type { LayerResult, LayerTask } from './layer.ts'
import type { TreeSize } from './measure.ts'
import type { StackLayer } from './merged.ts'
import type { Owner } from './metadata.ts'
import type { PackLayerTask } from './packLayer.ts'
import type { ByteString } from './paths.ts'
import type { ReduceTask } from './reduce.ts'
import type { SettledLayer, SettleTask } from './settle.ts'

/** What workers do, and the messages between them and the pool. Paths in tasks are of the host. */

export type { TreeChange }

/** A writable tree and the layers that it is compared with, bottom first. */
export interface ChangesTask {
  directory: string
  kind: TreeKind
  layers: StackLayer[]
}

export interface ExtractTask {
  /** The root that nothing leads out of (`/proc/<pid>/root`, a mount, a directory). */
  root: string
  /** Directory below the root to unpack into, resolved inside the root; it must be there. */
  path: ByteString
  owner?: Owner
  keepKinds?: boolean
  maps?: IdMaps
}

export interface PackTask {
  root: string
  path: ByteString
  as?: ByteString
  maps?: IdMaps
}

/** Tasks by name: what goes in, what comes out. Those with a stream have it beside. */
export interface Tasks {
  unpackLayer: { input: LayerTask; result: LayerResult }
  /** The same of a file that is still being written: at the pace of who writes it. */
  followLayer: { input: LayerTask & { arrival: SharedArrayBuffer }; result: LayerResult }
  completeLayer: { input: CompleteTask; result: TreeSize }
  composeStack: { input: ComposeTask; result: undefined }
  /** At half the pace that it could have, as `fileDigest` too. */
  compareLayer: { input: CompareTask; result: Comparison }
  fileDigest: { input: { path: string }; result: { digest: Digest; size: number } }
  changes: { input: ChangesTask; result: TreeChange[] }
  /** Bytes of files and symbolic links that are added or modified, each inode once. */
  changedSize: { input: ChangesTask; result: number }
  measure: { input: { directory: string; symlinks?: boolean }; result: TreeSize }
  remove: { input: { directory: string }; result: undefined }
  /** Labels of SELinux. */
  relabel: { input: { source: string; label: string }; result: undefined }
  /** Takes a stream. */
  extract: { input: ExtractTask; result: undefined }
  /** Gives a stream. */
  pack: { input: PackTask; result: undefined }
  packChanges: { input: ChangesTask; result: undefined }
  /** A layer's folder as its archive; gives a stream, and the digest of that. */
  packLayer: { input: PackLayerTask; result: Digest }
  /** The same without the stream. */
  layerDigest: { input: PackLayerTask; result: Digest }
  /** Leaves of a whole copy of a stack what is changed. */
  reduceCopy: { input: ReduceTask; result: undefined }
  settleLayer: { input: SettleTask; result: SettledLayer }
  /** A function of a folder above: what the module of this address exports as `task`. */
  module: { input: { module: string; input: unknown }; result: unknown }
  /** A file, compressed by several threads; `level` as `gzip` has it. */
  gzip: { input: { path: string; level?: number }; result: undefined }
}

export type TaskName = keyof Tasks

export interface ErrorRecord {
  /** A BerthError's; `system` for a SystemError, whose name is in `errno`. */
  code: string
  status: number
  message: string
  errno?: string
}

export type ToWorker =
  | { id: number; kind: 'start'; task: TaskName; input: unknown }
  | { id: number; kind: 'chunk'; bytes: Uint8Array }
  | { id: number; kind: 'end' }
  /** A chunk of output was taken. */
  | { id: number; kind: 'taken' }
  | { id: number; kind: 'cut' }

export type FromWorker =
  | { id: number; kind: 'progress'; bytes: number }
  | { id: number; kind: 'chunk'; bytes: Uint8Array }
  /** A chunk of input was taken. */
  | { id: number; kind: 'taken' }
  | { id: number; kind: 'done'; result: unknown }
  | { id: number; kind: 'failed'; error: ErrorRecord }

/** Chunks that may be under way between two threads. */
export const WINDOW = 8

/** Bytes of one chunk between two threads. */
export const CHUNK = 1 << 18
