import type { Engine } from '../../engine/engine.ts'
import type { Operation } from '../../engine/operations.ts'
import type { ImageConfig } from '../../oci/image.ts'
import type { Platform } from '../../oci/platform.ts'
import type { Layer, SnapshotStore } from '../../store/types.ts'
import type { Session } from '../session/session.ts'
import type { LayerOrigin, SolvedResult, Tree } from '../solver/types.ts'
import type { BroughtTree } from '../steps/image/layers.ts'
import type { ExportedLayer } from './imageConfig.ts'

/** What a build came to for one platform, as it is exported. */
export interface PlatformResult {
  /** `linux/arm64` */
  id: string
  platform: Platform
  /** Its layers and times are filled in. */
  image: ImageConfig
  /** Of the image that it is built on. */
  baseImage?: ImageConfig
  /** Seconds, of `SOURCE_DATE_EPOCH`. */
  epoch?: number
  tree: Tree
  /** What its build knows of all vertices. */
  results(): Promise<SolvedResult[]>
  /** A cache is to go within the image. */
  inlineCache?: InlineCache
}

/** The text of a cache for an image's configuration, once its layers are known. */
export type InlineCache = (layers: readonly ExportedLayer[]) => string

export interface BuildOutcome {
  platforms: PlatformResult[]
  /** It is to be told by platforms, even where there is one only. */
  isMulti: boolean
}

/** One step of a build that exports. */
export interface ExportStep {
  engine: Engine
  snapshots: SnapshotStore
  operation: Operation
  /** Folders of a tree; what is not here yet is fetched. */
  layersOf(tree: Tree): Promise<Layer[]>
  /** Before `images.incoming` is shared: blobs of its layers of images are here then; gives it by those. */
  bring(tree: Tree): Promise<BroughtTree>
  originOf(snapshot: string): LayerOrigin
  /** What is done now: `sending tarball`. */
  say(text: string): void
}

/** The client that takes what is exported. */
export interface ExportTarget {
  session: Session
  /** The number of the exporter, as the client counts them. */
  exporter: number
}

/** What a client is told of an export: `containerimage.digest`, `image.name`. */
export type Told = Record<string, string>
