import type { Difference } from '../../../archive/compare.ts'
import type { Credentials } from '../../../registry-client/types.ts'
import type { Operation } from '../../operations.ts'

/**
 * The health of what the data root holds. A check compares blobs with their
 * names, unpacked layers with their blobs, records with what they name; a
 * repair mends from what is whole: a layer from its blob, a blob from a registry.
 */

/** `quick` looks at records, names and sizes; `full` reads everything. */
export const depths = ['full', 'quick'] as const
export type Depth = (typeof depths)[number]

/** `local` mends from what is here, `fetch` from registries too. */
export const repairModes = ['none', 'local', 'fetch'] as const
export type RepairMode = (typeof repairModes)[number]

export type FindingKind =
  | 'database-damaged'
  | 'tag-without-image'
  | 'blob-damaged'
  | 'blob-missing'
  | 'blob-leftover'
  | 'layer-damaged'
  | 'layer-missing'
  | 'layer-unverifiable'
  | 'layer-leftover'
  | 'container-damaged'

/** These cost space, or tell what was not looked at; nothing is wrong. */
export const notes: readonly FindingKind[] = ['blob-leftover', 'layer-leftover', 'layer-unverifiable']

/** What became of a finding. */
export interface Mending {
  result: 'repaired' | 'removed' | 'quarantined' | 'failed'
  text: string
}

export interface Finding {
  kind: FindingKind
  /** Digest of a blob, key of a layer, name of a tag, id of a container. */
  id: string
  /** What is wrong, as a sentence. */
  text: string
  /** Names of images that need it. */
  images: string[]
  /** Names of containers that need it. */
  containers: string[]
  differences?: Difference[]
  /** Absent where no repair was asked for, or there is none. */
  mending?: Mending
}

export interface CheckRequest {
  depth: Depth
  repair: RepairMode
  /** By a registry's name. */
  credentials: (registry: string) => Credentials | undefined
  operation: Operation
  /** Hears what is looked at: at most a few times a second. */
  progress: (at: { status: string; id: string; current: number; total: number }) => void
  found: (finding: Finding) => void
}

/** Counts of a check. */
export interface CheckSummary {
  blobs: number
  blobBytes: number
  layers: number
  /** Layers whose content could be compared with nothing. */
  unverifiable: number
  containers: number
  /** Findings that are no mere notes. */
  damaged: number
  /** Of those. */
  mended: number
  /** Bytes of what nobody needed, and that were removed. */
  freedBytes: number
}
