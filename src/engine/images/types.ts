import type { Digest } from '../../oci/digest.ts'
import type { Descriptor, ImageConfig } from '../../oci/image.ts'
import type { BlobInfo, LayerSource } from '../../store/types.ts'

/**
 * An image is its configuration: the id is the configuration's digest. A
 * **target** is what brought it here, a manifest or an index, kept whole with
 * every blob it reaches; a **tag** is a name for a target.
 */
export interface ImageTarget {
  /** Index or manifest, as it is named from outside. */
  descriptor: Descriptor
  /** The manifest of this image within it. */
  manifest: Descriptor
  /** All blobs that it reaches and that are here, itself included. */
  blobs: BlobInfo[]
  /** The image's layers, bottom first. */
  layers: LayerSource[]
}

export interface ImageRecord {
  id: Digest
  config: ImageConfig
  targets: ImageTarget[]
  /** RFC 3339: when it was last tagged; zero time if never. */
  lastTagged: string
  parent: string
}

export interface TagRecord {
  /** `docker.io/library/busybox:latest`, or `…@sha256:…` for a reference by digest. */
  name: string
  image: Digest
  target: Digest
}
