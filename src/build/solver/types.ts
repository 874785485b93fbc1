import type { Digest } from '../../oci/digest.ts'
import type { Edge, Graph, Vertex, VertexDigest } from '../graph/types.ts'
import type { Cause } from './why.ts'

/**
 * What makes of a graph what it says, doing nothing twice.
 *
 * - **tree**: a file system as a stack of layers, bottom first. Empty: nothing at all.
 * - **snapshot**: a layer that a step made; never changed afterwards.
 * - **key**: what a result is found again by. A vertex has several: by its
 *   operation and the keys of what it takes, and by its operation and the
 *   *content* of what it sees of that. Equal keys, equal results; times are in none.
 * - **chain key**: the one key that a result counts by in the keys of what is made of it.
 * - **record**: a result that is kept, with its keys.
 * - **build**: one request; several at once share vertices that are equal.
 */

/** What is known of a layer that a step made. */
export interface LayerOrigin {
  /** RFC 3339 */
  created: string
  description: string
}

/**
 * `snapshot`: made here, by its id. `image`: by its diff id, perhaps not here yet: then it comes when a step needs it;
 * with its origin where a step made it elsewhere.
 */
export type LayerRef =
  | { kind: 'snapshot'; id: string }
  | {
      kind: 'image'
      diffId: Digest
      blob: Digest
      size: number
      mediaType: string
      reference: string
      origin?: LayerOrigin
    }

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
  /** Absent: only its content tells. */
  key?: KeyDigest
  /** The tree, where it is at hand or comes without work. */
  tree?: Tree
  /** Nothing of the tree has to come any more: the source is shown as cached. */
  atHand?: boolean
  /** The record that has the tree, where another build made it: it is kept, and is what results are made upon. */
  record?: string
}

/** A path in the tree, and what its name, kind, mode, owner and bytes come to: the digest or its beginning. */
export type FileDigest = readonly [path: string, digest: string]

export interface ContentDigest {
  digest: Digest
  /** What it was made of, in any order, so that users can be told which file changed. Absent where there are too many. */
  files?: readonly FileDigest[]
}

/** A build, as those see it who do its steps: one and the same object in all that it has solved. */
export interface BuildContext {
  id: string
  /** Aborted when the build ends early. */
  signal: AbortSignal
  /** Somebody looks into what becomes of its steps: what one that fails leaves is kept until it ends. */
  isLookedInto?: boolean
}

/** Hears of one vertex while it is done; all builds that wait for it hear the same. */
export interface StepReport {
  /** Bytes that its process wrote; taken over. Too many are left out, with a notice. */
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

/** One vertex being done, perhaps for several builds. */
export interface Work {
  vertex: Vertex
  report: StepReport
  /** Aborted when no build waits any more. */
  signal: AbortSignal
  /** Those that wait for it now: one of their clients is asked for files and secrets. */
  builds(): readonly BuildContext[]
}

/** A result that a step takes. */
export interface StepInput {
  tree: Tree
  /** Of the vertex that gave it: layers that come only now are told there. */
  report: StepReport
}

/** What is looked into. */
export interface SeenInput extends StepInput {
  /** Whose clients are asked where something has to be fetched for it. */
  builds(): readonly BuildContext[]
}

/** Does what operations say; given to the solver, which knows no file and no process. */
export interface StepRunner {
  /** Not asked for local sources, of which only the content tells. Errors: those of fetching. */
  identify(work: Work): Promise<Identity>
  /**
   * Fetches a source that is not at hand, or does a step; one tree a result, whole on disk. What it
   * made is removed where it rejects.
   */
  run(work: Work, inputs: readonly StepInput[]): Promise<Tree[]>
  /**
   * The digest of the names, kinds, modes, owners and bytes of what is selected; of no times. Errors: `not-found`
   * where a path without wildcards is not there.
   */
  contentDigest(input: SeenInput, selection: Selection, signal: AbortSignal): Promise<ContentDigest>
  /** Of a client's folder, which the next build may change, a tree that stays: others will stand on it. */
  keep(tree: Tree, signal: AbortSignal): Promise<Tree>
  /** Whether all of it is there, or can be had again. */
  isWhole(tree: Tree): Promise<boolean>
  /** Layers that `run` gave and that no record has: of a client's folder when its build has ended. It tells of errors itself. */
  discard(layers: readonly LayerRef[]): Promise<void>
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
  /** The first one for good; of those that it was linked to later, the newest. Empty for what no vertex gives. */
  keys: KeyDigest[]
  /** What it counts by in the keys of what is made of it; absent for the first of its keys. */
  chain?: KeyDigest
  /** Records whose layers its tree stands on. */
  parents: string[]
  /** It still changes: a cache mount, a folder of a client. */
  mutable?: boolean
  createdAt: number
  lastUsedAt: number
  usageCount: number
  /** Milliseconds that making it took. */
  duration: number
  /** What a later build is compared with, and by whose inputs it is known what can still be found; absent where no step made it. */
  made?: KeyParts
}

/** What a key was made of, for those who ask why a step ran. */
export interface KeyParts {
  /** The instruction with its values. */
  described: string
  /** As users see the step: `[build 2/3] RUN make`. */
  name: string
  /** Of the operation alone. */
  operation: Digest
  /** Single things of the operation as text, by name: `platform`, `directory`, `mount /src`, `variable CFLAGS`. */
  settings: Record<string, string>
  inputs: InputParts[]
}

export interface InputParts {
  /** What it is to the step: `files below`, `bind /src`, `files copied`. */
  role: string
  /** The step that gave it. */
  from: string
  key?: KeyDigest
  content?: Digest
  /** As `ContentDigest.files`, shortened to what is kept. */
  files?: FileDigest[]
}

/** Why a key finds nothing that it once found: the record was pruned, or its files were not there any more. */
export type Loss = 'pruned' | 'lost'

/** Keeps records; durable once a method settles. */
export interface ResultCache {
  find(key: KeyDigest): CacheRecord | undefined
  get(id: string): CacheRecord | undefined
  all(): IterableIterator<CacheRecord>
  /** What has become of the last record under this key. */
  loss(key: KeyDigest): Loss | undefined
  /** What that counted by in the keys of what was made of it. */
  pastChain(key: KeyDigest): KeyDigest | undefined
  /** A record of this id is there under these keys, too. */
  link(id: string, keys: readonly KeyDigest[]): Promise<void>
  /** Found once this settles. Records that have one of its keys lose it. */
  add(record: Omit<CacheRecord, 'lastUsedAt' | 'usageCount'>): Promise<void>
  /**
   * Gives the ids of snapshots that no record has any more. Records that are held, or that others stand on, stay;
   * what is lost is found by no key even then.
   */
  remove(ids: readonly string[], loss: Loss): Promise<string[]>
  /** What is held is not pruned. */
  hold(id: string): Disposable
  isHeld(id: string): boolean
  /** Whether a record was made of what counts by this. */
  isBase(chain: KeyDigest): boolean
  /** Whether a record has this snapshot. */
  hasSnapshot(id: string): boolean
  used(id: string): void
}

/** A result of another builder's. Times as those of a record. */
export interface ImportedResult
  extends Pick<CacheRecord, 'description' | 'tree' | 'keys' | 'createdAt' | 'duration'> {
  chain: KeyDigest
}

/** What a build may take from caches that it imports. */
export interface ImportedResults {
  find(key: KeyDigest): ImportedResult | undefined
  /** What the result under a key counts by in the keys of what is made of it, though the result may not be there. */
  chain(key: KeyDigest): KeyDigest | undefined
  /** Whether something was made of what counts by this. */
  isBase(chain: KeyDigest): boolean
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
  | { kind: 'status'; vertex: VertexDigest; part: PartStatus; time: bigint }
  | { kind: 'output'; vertex: VertexDigest; stream: 'stdout' | 'stderr'; bytes: Uint8Array; time: bigint }
  | { kind: 'warning'; vertex: VertexDigest; text: string }
  /** Why a step is not cached; before it runs. */
  | { kind: 'causes'; vertex: VertexDigest; causes: Cause[] }

export interface SolveRequest {
  /** One object for all that a build solves, so that it is told of each vertex once, and has it made anew once. */
  build: BuildContext
  graph: Graph
  /** Results that are wanted; that of the graph unless told. */
  edges?: readonly Edge[]
  /** Asked where nothing here is found. What is found is a record from then on. */
  imported?: ImportedResults
  /** All results that it comes by are held, and not only those that are wanted. */
  holdsAll?: boolean
  /** Never throws, never waits. */
  tell(event: BuildEvent): void
}

/** By what a result is known in other builds. */
export interface ResultMark {
  /** Its chain key; absent where only its content tells. */
  chain?: KeyDigest
  record?: string
}

/** Trees in the order of the edges, held from pruning until this is disposed of. */
export interface Solution extends AsyncDisposable {
  trees: Tree[]
  /** Of each tree. */
  marks: ResultMark[]
  /** Of all vertices that have keys, each after those that it takes; to be asked before it is disposed of. */
  results(): Promise<SolvedResult[]>
}

/** What a build knows of one result of a vertex. */
export interface SolvedResult {
  /** All that find it. */
  keys: KeyDigest[]
  /** What it counts by in the keys of what is made of it. */
  chain: KeyDigest
  /** What that counts by which it was made of, as far as it is known. */
  bases: KeyDigest[]
  /** Absent where nobody needed it, and it was not there. */
  record?: CacheRecord
}

export interface Solver {
  /**
   * Settles when nothing of it is under way any more. Errors: a `SolveError` of the first vertex that
   * failed, the signal's reason.
   */
  solve(request: SolveRequest): Promise<Solution>
}
