import type { Platform } from '../../oci/platform.ts'

/**
 * What a build is made of, as a graph. Pure data: who solves it fetches, runs
 * and caches.
 *
 * - **vertex**: one operation with the results that it takes. Two that are equal
 *   have the same digest, and are one, in one build and among several.
 * - **result**: a file system that a vertex gives; most give one, an exec one for
 *   each of its mounts that can be written to.
 * - **edge**: one result of one vertex.
 * - **step**: what a user knows a vertex by: `[build 2/3] RUN make`.
 */

/** `sha256:` of the operation and the edges that it takes, in a canonical form. */
export type VertexDigest = `sha256:${string}`

/** `index`: which of its results. */
export interface Edge {
  vertex: VertexDigest
  index: number
}

/** Where an input comes from; `index` in the vertex's `inputs`, undefined for an empty file system. */
export type InputIndex = number | undefined

export interface Vertex {
  digest: VertexDigest
  inputs: Edge[]
  operation: Operation
  /** Of what runs in it, and of what is fetched. */
  platform: Platform
  step: Step
}

/** How a vertex is shown and told of; not part of its digest. */
export interface Step {
  /** `[build 2/3] RUN make`, `[internal] load build context` */
  name: string
  /** Steps that are shown together. */
  group?: string
  /** It is made anew, whatever is cached (`--no-cache`, `--no-cache-filter`). Part of no digest: the result may be used. */
  ignoreCache?: boolean
  /** The file and the lines, from 1, that it comes from. */
  source?: { file: string; ranges: { start: number; end: number }[] }
  /** What it is for those who ask why it ran: the instruction with its values. */
  described?: string
}

export type Operation = SourceOperation | ExecOperation | FileOperation | MergeOperation

/** Fetched from outside; takes no inputs. */
export type SourceOperation =
  /** A result that another build lends, by its id. */
  | { kind: 'result'; id: string }
  | {
      kind: 'image'
      /** Normalized, with tag or digest. */
      reference: string
      /** `pull`: asked for anew at its registry. */
      resolve: 'default' | 'pull' | 'local'
      /** Layers alone, from the bottom, of which this many are taken; absent for all. */
      layerLimit?: number
    }
  | { kind: 'oci-layout'; session: string; store: string; reference: string }
  | {
      kind: 'local'
      /** `context`, `dockerfile`, or that of a named context. */
      name: string
      include?: string[]
      exclude?: string[]
      /** Paths whose links are followed, so that what they lead to comes, too. */
      follow?: string[]
      /** Contents of the same key are compared, so that unchanged files need not come again. */
      sharedKey: string
      /** Times and such that differ count as a change. */
      differ: 'metadata' | 'none'
    }
  | {
      kind: 'git'
      /** Without the fragment. */
      remote: string
      /** Branch, tag or commit; empty for the remote's own choice. */
      ref: string
      /** Commit that it must be. */
      checksum?: string
      subdirectory: string
      keepGitDirectory: boolean
      submodules: boolean
      /** Names of secrets. */
      authToken?: string
      authHeader?: string
      /** Id of the ssh agent to ask. */
      ssh?: string
      knownHosts?: string
    }
  | {
      kind: 'http'
      url: string
      checksum?: string
      filename: string
      mode?: number
      uid?: number
      gid?: number
    }

export interface ExecOperation {
  kind: 'exec'
  args: string[]
  /** `NAME=value`, in order. */
  env: string[]
  directory: string
  user: string
  hostname?: string
  network: 'default' | 'host' | 'none'
  security: 'sandbox' | 'insecure'
  /** The first is the root: `/`. */
  mounts: ExecMount[]
  /** Variables whose values are secrets. */
  secretEnv: { id: string; name: string; required: boolean }[]
  devices: { name: string; required: boolean }[]
  extraHosts: { host: string; address: string }[]
  ulimits: { name: string; soft: number; hard: number }[]
  cgroupParent?: string
  /** Bytes; absent for Docker's default. */
  shmSize?: number
  /** Proxy variables: given to the process, and no part of the digest. */
  proxy: Record<string, string>
  /** Files for the process to read: a script that begins with `#!`, the text of a heredoc. */
  files: { path: string; content: string; mode: number }[]
}

export type ExecMount = { target: string; readOnly: boolean } & (
  | {
      kind: 'bind'
      input: InputIndex
      /** The part of the input that is mounted. */
      source: string
      /** Which result what is written becomes; undefined where it is thrown away. */
      output: number | undefined
    }
  | {
      kind: 'cache'
      id: string
      sharing: 'shared' | 'private' | 'locked'
      /** What it begins with. */
      input: InputIndex
      source: string
      owner?: { uid: number; gid: number; mode: number }
    }
  | { kind: 'tmpfs'; size?: number }
  | { kind: 'secret'; id: string; required: boolean; uid: number; gid: number; mode: number }
  | { kind: 'ssh'; id: string; required: boolean; uid: number; gid: number; mode: number }
)

/** Actions one after another on input 0; the last one's outcome is the result. */
export interface FileOperation {
  kind: 'file'
  /** Undefined begins with nothing. */
  base: InputIndex
  actions: FileAction[]
}

/** By number, or by name in the files of an input. */
export interface Owner {
  user?: string
  group?: string
  /** Whose `/etc/passwd` and `/etc/group` know the names. */
  names: InputIndex | 'base'
}

export type FileAction =
  | {
      kind: 'copy'
      from: InputIndex
      source: string
      destination: string
      owner?: Owner
      /** Octal, or as chmod(1) takes it: `u=rwX,go=rX`. */
      mode?: string
      followLinks: boolean
      /** Of a directory what is in it, not itself. */
      contentsOnly: boolean
      /** An archive is unpacked. */
      unpack: boolean
      createDestination: boolean
      wildcards: boolean
      /** No error where wildcards match nothing. */
      allowEmpty: boolean
      include: string[]
      exclude: string[]
      /** `--parents`: the path before the pivot (`./`) is left out, what is behind it is made again. */
      keepParents: boolean
      /** What is at the destination already, a file where a directory comes, gives way. */
      replace: boolean
    }
  | { kind: 'makeDirectory'; path: string; mode: number; parents: boolean; owner?: Owner }
  | { kind: 'makeFile'; path: string; content: string; mode: number; owner?: Owner }
  | { kind: 'remove'; path: string; allowMissing: boolean; wildcards: boolean }

/** The inputs as layers over one another: what `--link` makes. */
export interface MergeOperation {
  kind: 'merge'
}

/** A whole build of one platform: `vertices` hold each vertex that `result` needs, each after its inputs. */
export interface Graph {
  vertices: ReadonlyMap<VertexDigest, Vertex>
  /** Undefined for an empty image (`FROM scratch` alone). */
  result: Edge | undefined
}
