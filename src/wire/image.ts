import type { Digest } from '../oci/digest.ts'
import type { Descriptor } from '../oci/image.ts'
import type { Platform } from '../oci/platform.ts'

/** The Engine API's shapes of images. */

/** Where an image comes from, as far as the daemon has seen it itself. */
export interface Identity {
  Pull?: { Repository: string }[]
}

interface ManifestSummaryBase {
  /** The manifest's digest. */
  ID: Digest
  Descriptor: Descriptor
  /** Configuration and layers are here. */
  Available: boolean
  /** Bytes that are here. `Total` is `Content` and what is unpacked. */
  Size: { Content: number; Total: number }
}

export type ImageManifestSummary = ManifestSummaryBase &
  (
    | {
        Kind: 'image'
        ImageData: {
          Platform: Platform
          Identity?: Identity
          /** Ids. */
          Containers: string[]
          Size: { Unpacked: number }
        }
      }
    | { Kind: 'attestation'; AttestationData: { For: Digest } }
    | { Kind: 'unknown' }
  )

/** An entry of `GET /images/json`. */
export interface ImageSummary {
  Id: Digest
  ParentId: string
  RepoTags: string[]
  RepoDigests: string[]
  /** Seconds since the epoch. */
  Created: number
  /** Bytes. */
  Size: number
  /** Bytes; -1 where it was not asked for. */
  SharedSize: number
  Labels: Record<string, string>
  /** -1 where it is not told. */
  Containers: number
  Descriptor?: Descriptor
  Manifests?: ImageManifestSummary[]
  /** Until 1.43. */
  VirtualSize?: number
}

/** `GET /images/{name}/json`; what an image does not have is left out, from some version on. */
export interface ImageInspect {
  Id: Digest
  RepoTags: string[]
  RepoDigests: string[]
  Parent?: string
  Comment?: string
  Created?: string
  DockerVersion?: string
  Author?: string
  Config: object
  Architecture: string
  Variant?: string
  Os: string
  OsVersion?: string
  /** Bytes. */
  Size: number
  GraphDriver: { Name: string; Data: Record<string, string> }
  RootFS: { Type: 'layers'; Layers: Digest[] }
  Metadata: { LastTagTime: string }
  Descriptor?: Descriptor
  Manifests?: ImageManifestSummary[]
  Identity?: Identity
  /** Until 1.43. */
  VirtualSize?: number
  /** Until 1.44: the container that it was committed from. */
  Container?: string
  /** Until 1.44. */
  ContainerConfig?: object
}

/** An entry of `GET /images/{name}/history`. */
export interface HistoryItem {
  Id: string
  /** Seconds since the epoch. */
  Created: number
  CreatedBy: string
  Tags: string[] | null
  /** Bytes. */
  Size: number
  Comment: string
}

/** An entry of `DELETE /images/{name}` and of a prune. */
export type ImageDeleteItem = { Untagged: string } | { Deleted: string }

/** An entry of `GET /images/{name}/attestations`. */
export interface AttestationStatement {
  Descriptor: Descriptor
  /** The in-toto predicate's type. */
  PredicateType: string
  Statement?: unknown
}
