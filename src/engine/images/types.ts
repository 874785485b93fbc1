import type { Digest } from '../../oci/digest.ts'
import type { Descriptor, ImageConfig } from '../../oci/image.ts'
import type { BlobInfo, LayerSource } from '../../store/types.ts'

/**
 * An image is its configuration: the id is the configuration's digest. A
 * **target** is what brought it here, a manifest or an index; a **tag** is a
 * name for a target.
 *
 * An index has an image for each platform whose content is here whole: its
 * **siblings**, which share the target. All tags of a target name the same one
 * of them, that for this host or else the one last asked for; the others have
 * no row in a list, belong to the target, and go when its last tag goes.
 */
export interface ImageTarget {
  /** Index or manifest, as it is named from outside. */
  descriptor: Descriptor
  /** The manifest of this image within it. */
  manifest: Descriptor
  /**
   * The blobs of this image that are here: the way from the descriptor to its
   * manifest, what that reaches, and attestations of it. Those of the other
   * platforms are in the targets of their images (in records of old, in all).
   */
  blobs: BlobInfo[]
  /** The image's layers, bottom first. */
  layers: LayerSource[]
  /** Repositories that it was pulled from or pushed to, in full: `docker.io/library/busybox`. */
  sources?: string[]
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
