import type { ResultEntry } from '../../build/export/resultFiles.ts'
import type { BuildHistory, HistoryBlob } from '../../build/history/history.ts'
import type { Sessions } from '../../build/session/sessions.ts'
import type { SourceExcerpt, WarningInfo } from '../../build/solver/progress.ts'
import type { BuildEvent } from '../../build/solver/types.ts'
import type { Requester } from '../../engine/operations.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Platform } from '../../oci/platform.ts'
import type { Definition } from '../../wire/buildkit/ops_pb.ts'
import type { BuildContainers } from './buildContainers.ts'

/**
 * What BuildKit's services stand on. A client's build has two calls that belong
 * together by its *ref*: `Control.Solve`, which lasts as long as the build, and
 * `Control.Status`, which tells of it. Who leads it are *frontends*: one of ours
 * by its name, or the client, by calls of the *gateway* (LLBBridge), whose last
 * one returns the result. Then that is exported, and Solve ends.
 */

/** An exporter, or a cache that is read or written, with what it is told. */
export interface Attributed {
  type: string
  attributes: Record<string, string>
}

/** `Control.Solve`. */
export interface BuildRequest {
  ref: string
  /** The session's id; empty without one. */
  session: string
  /** Empty where the client leads the build. */
  frontend: string
  options: Record<string, string>
  inputs: Record<string, Definition>
  definition?: Definition
  entitlements: string[]
  exporters: Attributed[]
  cacheImports: Attributed[]
  cacheExports: Attributed[]
  /** No history is kept of it. */
  isInternal: boolean
}

/** One solve within a build. */
export interface SolveRequest {
  /** `dockerfile.v0`; empty for the definition itself. */
  frontend: string
  options: Record<string, string>
  inputs: Record<string, Definition>
  definition?: Definition
  cacheImports: Attributed[]
  /** Its steps are done before it is answered. */
  evaluate: boolean
}

/**
 * What a solve gives, made when something needs it. A ref is an id of the implementation's, good while the build
 * lasts; an empty one is an empty file system.
 */
export interface BuildResult {
  /** Of a build of one platform. */
  ref?: string
  /** By platform id. */
  refs?: Record<string, string>
  /** `containerimage.config`, `refs.platforms`, `result.txt` of a subrequest, … */
  metadata: Record<string, Uint8Array>
}

/** What a check of a Dockerfile found. */
export interface CheckWarning extends WarningInfo {
  kind: 'check'
}

export type StatusEvent = BuildEvent | CheckWarning

export interface ImageQuery {
  reference: string
  platform?: Platform
  resolve: 'default' | 'pull' | 'local'
  /** What the step is called. */
  logName: string
  /** Without the configuration. */
  onlyDigest: boolean
  /** An OCI layout of a session instead of a registry. */
  layout?: { session: string; store: string }
}

export interface ImageAnswer {
  digest: string
  config: Uint8Array
  reference: string
}

/** One build. All of its methods may be called until it is disposed of, which ends all that is under way. */
export interface Build extends AsyncDisposable {
  /** In its results, for who leads it to look around in. */
  readonly containers: BuildContainers
  solve(request: SolveRequest, signal: AbortSignal): Promise<BuildResult>
  /** What a result is made by, for the client to show and to ask for parts of. Errors: `not-found`. */
  definition(ref: string): Definition
  /** Makes a result, where nothing has needed it so far. */
  evaluate(ref: string, signal: AbortSignal): Promise<void>
  /** `length` bytes from `offset` on; all without. Errors: `not-found`. */
  readFile(
    ref: string,
    file: { path: string; offset: number; length?: number },
    signal: AbortSignal,
  ): Promise<Uint8Array>
  /** `pattern`: of names. */
  readDirectory(
    ref: string,
    directory: { path: string; pattern: string },
    signal: AbortSignal,
  ): Promise<ResultEntry[]>
  /** Of what the path leads to within the result. */
  statFile(ref: string, path: string, signal: AbortSignal): Promise<ResultEntry>
  resolveImage(query: ImageQuery, signal: AbortSignal): Promise<ImageAnswer>
  /**
   * Exports a result as the build's request says; gives what the client is told of it. Clients
   * also make builds that only look what is there: those return an empty result and ask for nothing.
   */
  finish(result: BuildResult, signal: AbortSignal): Promise<Record<string, string>>
}

export interface Worker {
  id: string
  labels: Record<string, string>
  platforms: Platform[]
  collection: CollectionPolicy[]
}

/** A rule of garbage collection. Nanoseconds, bytes; 0 for none. */
export interface CollectionPolicy {
  all: boolean
  filters: string[]
  keepDuration: bigint
  reservedSpace: bigint
  maxUsedSpace: bigint
  minFreeSpace: bigint
}

/** A record of the cache, as `docker buildx du` shows it. Times in nanoseconds since the epoch. */
export interface Usage {
  id: string
  isMutable: boolean
  isInUse: boolean
  isShared: boolean
  size: bigint
  parents: string[]
  createdAt: bigint
  lastUsedAt?: bigint
  usageCount: bigint
  description: string
  type: string
}

export interface Builder {
  readonly sessions: Sessions
  readonly version: { package: string; version: string; revision: string }
  workers(): Worker[]
  /** Begins a build that does nothing yet; `tell` hears all of it. Errors: of what the request says. */
  begin(request: BuildRequest, tell: (event: StatusEvent) => void, requester?: Requester): Build
  /** Where an error comes from, for the client to show; none unless it says. */
  sourcesOf(error: unknown): SourceExcerpt[]
  /** `ageLimit` in nanoseconds. */
  usage(query: { filters: string[]; ageLimit: bigint }, signal: AbortSignal): Promise<Usage[]>
  /** Gives what was removed. */
  prune(policy: CollectionPolicy, signal: AbortSignal): AsyncIterable<Usage>
  /** Absent where no records are kept. */
  readonly history?: BuildHistory
  /** What a record or an image has. */
  blob?(digest: Digest): Promise<HistoryBlob | undefined>
}
