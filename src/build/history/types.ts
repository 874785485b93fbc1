import type { Requester } from '../../engine/operations.ts'
import type { Digest } from '../../oci/digest.ts'

/**
 * What is kept of builds that have been.
 *
 * - **record**: one build: who asked for what, its steps with why each ran, what came of it, its log. It is *open* while
 *   the build lasts, and a file afterwards.
 * - **ref**: a build's name, of the client's making.
 * - **log**: what `Control.Status` told, as BuildKit's clients read it: messages, each behind its length.
 * - **pinned**: no limit removes it.
 *
 * Times are texts of RFC 3339 with nanoseconds, UTC.
 */

/** An exporter with what it was told. */
export interface RecordedExporter {
  type: string
  attributes: Record<string, string>
}

/** What was asked for. Passwords in addresses are left out; secrets never come here. */
export interface BuildInputs {
  ref: string
  /** `dockerfile.v0` */
  frontend: string
  /** By BuildKit's names: `target`, `platform`, `build-arg:NAME`, `label:NAME`, `context`, … */
  attributes: Record<string, string>
  exporters: RecordedExporter[]
  requester?: Requester
}

export interface RecordedStep {
  digest: string
  /** `[build 2/3] RUN make` */
  name: string
  /** Digests of the steps whose results it takes. */
  inputs: string[]
  startedAt?: string
  completedAt?: string
  cached: boolean
  /** Empty for none. */
  error: string
  /** Why it ran, in plain words; none where it was cached, or is not made by the cache's rules. */
  why: string[]
}

export interface StepCounts {
  total: number
  completed: number
  cached: number
  warnings: number
}

/** Small bytes that clients read by their digest. */
export interface RecordedBlob {
  mediaType: string
  digest: Digest
  size: number
  /** Base64; absent where they are in a file of their own. */
  bytes?: string
}

export interface RecordedError {
  /** Of gRPC. */
  code: number
  message: string
  /** The whole `google.rpc.Status`, with the places that it comes from. */
  details?: RecordedBlob
}

export interface BuildRecord extends BuildInputs {
  createdAt: string
  completedAt: string
  error?: RecordedError
  /** What the client was told of the result: `containerimage.digest`, `image.name`, … */
  response: Record<string, string>
  log: RecordedBlob
  steps: RecordedStep[]
  counts: StepCounts
  pinned: boolean
  /** Grows with each change of the record. */
  generation: number
}

/** A record of a build that is under way. */
export type OpenRecord = Omit<BuildRecord, 'completedAt' | 'log' | 'response' | 'error'>

/** How a build ended. */
export interface BuildEnd {
  response?: Record<string, string>
  error?: { code: number; message: string; details?: Uint8Array }
}

export type HistoryEvent =
  | { kind: 'started'; ref: string }
  | { kind: 'complete'; ref: string }
  | { kind: 'deleted'; ref: string }

export type BuildStatus = 'running' | 'completed' | 'error' | 'canceled'

/** As BuildKit's clients tell them apart. */
export const statusOf = (record: OpenRecord | BuildRecord): BuildStatus => {
  if (!('completedAt' in record)) return 'running'
  if (!record.error) return 'completed'
  return record.error.code === 1 || record.error.message.includes('context canceled') ? 'canceled' : 'error'
}
