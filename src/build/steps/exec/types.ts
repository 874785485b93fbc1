import type { Duplex } from 'node:stream'
import type { Engine } from '../../../engine/engine.ts'
import type { Platform } from '../../../oci/platform.ts'
import type { Layer, SnapshotStore } from '../../../store/types.ts'
import type { StepLimits } from '../../frontend/limits.ts'
import type { ExecOperation } from '../../graph/types.ts'
import type { LayerRef, StepReport, Tree } from '../../solver/types.ts'
import type { CacheMounts } from './cacheMounts.ts'

/** What steps work with. */
export interface ExecTools {
  engine: Engine
  snapshots: SnapshotStore
  cacheMounts: CacheMounts
  /** Fetches what is not here. */
  layersOf(tree: Tree, signal: AbortSignal): Promise<Layer[]>
}

/** What the clients of the builds that wait for a step have; each call asks one after another until one knows. */
export interface StepClients {
  /** Undefined where nobody has it. At most 500 KiB, as BuildKit's clients give. */
  secret(id: string, signal: AbortSignal): Promise<Uint8Array | undefined>
  /** Opens connections to a client's agent; undefined where nobody forwards one of this id. */
  agent(id: string, signal: AbortSignal): Promise<(() => Promise<Duplex>) | undefined>
}

/** What a process that failed has left. */
export interface LeftBehind {
  /** By its results. */
  trees: readonly Tree[]
  /** What of them nothing else has. */
  own: readonly LayerRef[]
}

export interface ExecStep {
  operation: ExecOperation
  /** Of what runs in it. */
  platform: Platform
  inputs: readonly Tree[]
  clients: StepClients
  report: StepReport
  limits: StepLimits
  signal: AbortSignal
  /** Takes over what a process that fails leaves; absent where that is thrown away. */
  left?: (left: LeftBehind) => void
  /** Command that runs programs of another machine; absent where the kernel can. */
  emulator?: string
}

export const snapshotTree = (below: readonly LayerRef[], id: string): Tree => ({
  layers: [...below, { kind: 'snapshot', id }],
})
