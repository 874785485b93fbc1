import type { Digest } from '../../oci/digest.ts'
import type { Edge, Graph, Vertex, VertexDigest } from '../graph/types.ts'

/**
 * What makes of a graph what it says, doing nothing twice.
 *
 * - **tree**: a file system as a stack of layers, bottom first. Empty: nothing at all.
 * - **snapshot**: a layer that a step made; never changed afterwards.
 * - **key**: what a result is found again by. A vertex has several: by its
 *   operation and the keys of what it takes, and by its operation and the
 *   *content* of what it sees of that. Equal keys, equal results; times are in none.
 * - **record**: a result that is kept, with its keys.
 * - **build**: one request; several at once share vertices that are equal.
 */

/** `snapshot`: made here, by its id. `image`: by its diff id, perhaps not here yet: then it comes when a step needs it. */
export type LayerRef =
  | { kind: 'snapshot'; id: string }
  | { kind: 'image'; diffId: Digest; blob: Digest; size: number; mediaType: string; reference: string }

export interface Tree {
  layers: readonly LayerRef[]
}

export type KeyDigest = Digest

/** What a step sees of an input by content: paths within it, with patterns as COPY has them. */
export interface Selection {
  path: string
  wildcards: boolean
  followLinks: boolean
  include: readonly string[]
  exclude: readonly string[]
  /** Owners do not matter: they are set anew. Likewise modes. */
  ignoreOwner: boolean
  ignoreMode: boolean
}

/** What a source is before it is fetched. */
export interface Identity {
  /** Absent: only its content tells (folders of clients). */
  key?: KeyDigest
  /** The tree, where it is at hand or comes without work. */
  tree?: Tree
}

/** A build, as those see it who do its steps. */
export interface BuildContext {
  id: string
  /** Aborted when the build ends early. */
  signal: AbortSignal
}

/** Hears of one vertex while it is done; all builds that wait for it hear the same. */
export interface StepReport {
  /** Bytes that its process wrote. */
  output(stream: 'stdout' | 'stderr', bytes: Uint8Array): void
  /** A part with progress of its own: a layer that is pulled, files that come. `current`, `total` in bytes. */
  status(part: PartStatus): void
  warning(text: string): void
}

export interface PartStatus {
  id: string
  name: string
  current: number
  total: number
  startedAt: bigint
  completedAt?: bigint
}

/** Does what operations say; given to the solver, which knows no file and no process. */
export interface StepRunner {
  /** Errors: those of fetching. */
  identify(vertex: Vertex, report: StepReport, signal: AbortSignal): Promise<Identity>
  /** Fetches a source that is not at hand, or does a step; one tree a result. What it made is removed where it rejects. */
  run(vertex: Vertex, inputs: readonly Tree[], report: StepReport, signal: AbortSignal): Promise<Tree[]>
  /** The digest of the names, kinds, modes, owners and bytes of what is selected; of no times. */
  contentDigest(tree: Tree, selection: Selection, signal: AbortSignal): Promise<Digest>
  /** Whether all of it is there, or can be had again. */
  isWhole(tree: Tree): Promise<boolean>
}

/** As `docker buildx du` names them. */
export type RecordKind =
  | 'regular'
  | 'internal'
  | 'frontend'
  | 'source.local'
  | 'source.git.checkout'
  | 'exec.cachemount'

/** A result that is kept. Times in milliseconds since the epoch. */
export interface CacheRecord {
  id: string
  kind: RecordKind
  /** What the user knows it by. */
  description: string
  tree: Tree
  keys: KeyDigest[]
  /** Records of what it was made from. */
  parents: string[]
  createdAt: number
  lastUsedAt: number
  usageCount: number
  /** The lines of the instruction with values, and what its keys were made of: what a later build is compared with. */
  made: KeyParts
}

/** What a key was made of, for those who ask why a step ran. */
export interface KeyParts {
  /** The instruction with its values. */
  described: string
  /** Of the operation alone. */
  operation: Digest
  inputs: { role: string; key?: KeyDigest; content?: Digest }[]
}

/** Keeps records; durable once a method settles. */
export interface ResultCache {
  find(key: KeyDigest): CacheRecord | undefined
  /** A record of this id is there under these keys, too. */
  link(id: string, keys: readonly KeyDigest[]): Promise<void>
  add(record: Omit<CacheRecord, 'lastUsedAt' | 'usageCount'>): Promise<void>
  /** What is held is not pruned. */
  hold(id: string): Disposable
  used(id: string): void
}

export type VertexState = 'waiting' | 'running' | 'cached' | 'done' | 'failed' | 'cancelled'

/** What a build says of its vertices, in order; times in nanoseconds since the epoch. */
export type BuildEvent =
  | {
      kind: 'vertex'
      vertex: Vertex
      state: VertexState
      startedAt?: bigint
      completedAt?: bigint
      error?: string
    }
  | { kind: 'status'; vertex: VertexDigest; part: PartStatus }
  | { kind: 'output'; vertex: VertexDigest; stream: 'stdout' | 'stderr'; bytes: Uint8Array; time: bigint }
  | { kind: 'warning'; vertex: VertexDigest; text: string }

export interface SolveRequest {
  build: BuildContext
  graph: Graph
  /** Results that are wanted; that of the graph unless told. */
  edges?: readonly Edge[]
  tell(event: BuildEvent): void
}

export interface Solver {
  /**
   * The trees of the edges that are wanted, held from pruning until this is disposed of. Errors: a
   * `SolveError` of the first vertex that failed, the signal's reason.
   */
  solve(request: SolveRequest): Promise<{ trees: Tree[] } & Disposable>
}
