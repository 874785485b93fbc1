import type { Digest } from '../../oci/digest.ts'
import type { Descriptor } from '../../oci/image.ts'
import type { Reference } from '../../oci/reference.ts'
import type { Document } from '../export/imageDocuments.ts'
import type { ImageOptions } from '../export/options.ts'
import type { ImportedResult, KeyDigest } from '../solver/types.ts'

/**
 * Caches that go from one builder to another. Their form is BuildKit's (`application/vnd.buildkit.cacheconfig.v0`:
 * cache/remotecache/v1/spec.go), so that registries and tools see what they expect: **layers**, each with the one that
 * it lies on, and **records**, each with a digest, the records that it was made of, and the layer on top of its result.
 * The keys within are our own: another builder finds nothing in such a cache, and we nothing in another's.
 */

/** A layer in the form. `parent`: the index of the one below, -1 for none. */
export interface LayerForm {
  blob: string
  parent?: number
  annotations?: { mediaType?: string; diffID?: string; size?: number; createdAt?: string }
}

/** What a record says to us besides. */
export interface OwnForm {
  keys: string[]
  chain: string
  /** What that counts by which it was made of. */
  bases: string[]
  description?: string
  milliseconds?: number
  /** Of the layer on top, where it was not made with the record: the time, and its description. None of an image's. */
  layer?: { created: string; description: string } | null
}

export interface RecordForm {
  digest: string
  /** Results, by the index of the layer on top; more than one are equally good. */
  layers?: { layer: number; createdAt?: string }[]
  /** Results by the indexes of all of their layers. */
  chains?: { layers: number[]; createdAt?: string }[]
  /** By number of the input: records that it may come from. */
  inputs?: { link: number; selector?: string }[][]
  berth?: OwnForm
}

export interface CacheForm {
  layers: LayerForm[]
  records: RecordForm[]
}

export const cacheConfigType = 'application/vnd.buildkit.cacheconfig.v0'

/** One record of a cache that was read. Without a result, its chain leads to what was made of it. */
export interface ImportedRecord {
  keys: KeyDigest[]
  chain: KeyDigest
  bases: KeyDigest[]
  result?: ImportedResult
}

/** `--cache-to` */
export interface CacheExport {
  /** Where it goes: into the image itself, to a registry, into a folder of the client. */
  to: { kind: 'inline' } | { kind: 'registry'; name: Reference } | { kind: 'local'; folder: string }
  /** `min`: the layers of the result; `max`: those of all vertices. */
  mode: 'min' | 'max'
  /** How layers are packed. */
  options: ImageOptions
  /** A manifest whose layers are the cache's, rather than an index of them. */
  isImageManifest: boolean
  /** The build goes on where it cannot be exported. */
  ignoresErrors: boolean
}

/** `--cache-from` */
export type CacheSource = {
  /** As the user wrote it. */
  told: string
} & ({ kind: 'registry'; name: Reference } | { kind: 'local'; folder: string; digest: Digest })

/** Who takes a cache. What it has already is not sent. */
export interface CacheTarget {
  has(blob: Descriptor): Promise<boolean>
  /** Blobs of the store. */
  send(blobs: readonly Descriptor[]): Promise<void>
  /** The last: what the cache is known by. */
  finish(document: Document): Promise<void>
}
