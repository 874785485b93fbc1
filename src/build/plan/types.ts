import type { Digest } from '../../oci/digest.ts'
import type { ImageConfig } from '../../oci/image.ts'
import type { Platform } from '../../oci/platform.ts'
import type { CheckSettings } from '../dockerfile/checks/settings.ts'
import type { Dockerfile, Range, Warning } from '../dockerfile/types.ts'
import type { ExecOperation, Graph, SourceOperation } from '../graph/types.ts'

/**
 * From a Dockerfile to the graph that builds it, for one platform. Planning is pure: what it has to know of images and
 * folders it asks the `Outside` for.
 *
 * - **context**: the files that COPY and ADD take, of the client or fetched.
 * - **named context**: files under a name, which stand for the stage or image of that name.
 * - **used paths**: what of a context is copied or mounted; only that is asked for.
 * - **epoch**: `SOURCE_DATE_EPOCH`, the seconds that stand for the time of the build.
 */

/** Where the files of COPY and ADD come from. */
export type ContextSource =
  /** Of the client, under this name in its session; `exclude` are the patterns of `.dockerignore`. */
  | { kind: 'local'; name: string; sharedKey: string; exclude: string[] }
  /** With its fragment or query. */
  | { kind: 'git'; url: string; subdirectory?: string }
  /** `archive`: what is there was looked at, and is to be unpacked; otherwise it is one file, `context`. */
  | { kind: 'http'; url: string; archive: boolean; subdirectory?: string }
  /** The result of a graph that was made before. */
  | { kind: 'graph'; graph: Graph; subdirectory?: string }

export type ResolveMode = 'default' | 'pull' | 'local'

export interface BuildRequest {
  dockerfile: Dockerfile
  /** As it is told of in errors. */
  fileName: string
  /** Build arguments, those of proxies and `BUILDKIT_…` among them. */
  arguments: Readonly<Record<string, string>>
  /** Set last, over those of the file. */
  labels: Readonly<Record<string, string>>
  /** Name or number of a stage; absent for the last one. */
  target?: string
  /** Absent: that of the builder, or what the base image is for. */
  targetPlatform?: Platform
  buildPlatform: Platform
  /** Steps are shown with their platform. */
  multiPlatform?: boolean
  context: ContextSource
  /** `docker-image://…`, `oci-layout://…`, `local:…`, `https://…`, `input:…` by name or `name::platform`. */
  namedContexts: Readonly<Record<string, string>>
  /** Keys by which the client knows the folders of named contexts again. */
  sharedKeys?: Readonly<Record<string, string>>
  /** What `input:` names: graphs that were planned before. */
  inputs?: Readonly<Record<string, { graph: Graph; image?: ImageConfig }>>
  /** Of the client, for layouts that it has. */
  session: string
  /** Which stages are made anew. */
  noCache?: 'all' | string[]
  resolve: ResolveMode
  network: ExecOperation['network']
  extraHosts: ExecOperation['extraHosts']
  ulimits: ExecOperation['ulimits']
  /** For each RUN. */
  devices: ExecOperation['devices']
  shmSize?: number
  cgroupParent?: string
  hostname?: string
  /** In the stead of those of the file. */
  checks?: CheckSettings
  /** Plans stages that the target does not need, too, for their checks. */
  allStages?: boolean
}

export interface ResolvedImage {
  config: ImageConfig
  /** Of its index or manifest; the graph takes just that image. */
  digest?: Digest
}

/** What cannot be known from a request alone. `step`: what the user sees meanwhile. Errors stop the planning. */
export interface Outside {
  image(asked: {
    reference: string
    platform: Platform
    resolve: ResolveMode
    step: string
  }): Promise<ResolvedImage>
  /** An image of a layout that the client has. */
  layout(asked: {
    session: string
    store: string
    reference: string
    platform: Platform
    step: string
  }): Promise<ResolvedImage>
  /** The text of the `.dockerignore` of a folder that the client has; empty for none. */
  ignoreFile(asked: { name: string; sharedKey: string; step: string }): Promise<string>
  /** Seconds: of a commit, of a download. Undefined where nothing is known. */
  sourceDate(operation: SourceOperation): Promise<number | undefined>
}

export interface OutlineEntry {
  name: string
  ranges: Range[]
}

/** What a target takes: `--call outline`. */
export interface Outline {
  name: string
  description: string
  arguments: (OutlineEntry & { value: string; description: string })[]
  secrets: (OutlineEntry & { required: boolean })[]
  ssh: (OutlineEntry & { required: boolean })[]
}

/** `--call targets`. */
export interface Target {
  name: string
  description: string
  default: boolean
  base: string
  platform: string
  ranges: Range[]
}

export interface Plan {
  graph: Graph
  /** Its layers and times are for who exports it. */
  image: ImageConfig
  /** Of the image that the target is built on. */
  baseImage?: ImageConfig
  platform: Platform
  warnings: Warning[]
  outline: Outline
  epoch?: number
  /** Results within the graph that a scan for its contents is to look at, too: `BUILDKIT_SBOM_SCAN_…`. */
  scanned: { name: string; graph: Graph }[]
}
