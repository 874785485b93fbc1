import type { Readable } from 'node:stream'
import type { Comparison } from '../archive/compare.ts'
import type { StackLayer } from '../archive/merged.ts'
import type { IdMaps } from '../linux/idMaps.ts'
import type { Digest } from '../oci/digest.ts'
import type { Quarantine } from './quarantine.ts'

/**
 * What the data root holds. Vocabulary:
 *
 * - **blob**: bytes named by their sha256, written once, never changed: layers
 *   as they were received, configs, manifests, indexes. `blobs/sha256/<hex>`.
 * - **ingest**: a blob being written: a temporary file that becomes a blob when
 *   its digest and size are found right, or is removed.
 * - **partial**: a blob that comes from afar, and whose coming goes on where it
 *   was cut off: `.partial-<hex>`, for a week.
 * - **layer**: a blob unpacked into a directory that overlayfs takes as a lower
 *   layer. Its key is the diff id (the digest of the uncompressed tar), or the
 *   chain id where the content depends on the layers below it.
 * - **upper**: the writable directory of one container over a stack of layers.
 * - **mount**: an upper and its layers, mounted below exec-root while in use.
 * - **snapshot**: what a build step wrote over a stack, kept as a layer that is
 *   not known by a diff id yet. `snapshots/<id>`. *Sealing* computes that, after
 *   which it is a layer like any other.
 *
 * Life: blobs and layers are complete or absent after any crash. Who still
 * needs them is the caller's knowledge; the stores never collect by themselves.
 */

export interface BlobInfo {
  digest: Digest
  /** Bytes. */
  size: number
}

/** Hears how a blob comes in. */
export interface BlobFollower {
  /** So many bytes are in this file; it has the blob's name only when the write is done. */
  grown(path: string, bytes: number): void
  /** All bytes are there, and right: the digest is computed. */
  whole(digest: Digest): void
}

export interface PartialInfo extends BlobInfo {
  /** Of the file; its size is the bytes that are there. */
  path: string
}

/** A blob that comes in parts. Disposing of it keeps what is there for the next who opens it. */
export interface PartialBlob extends AsyncDisposable {
  /** Bytes that are there. */
  readonly offset: number
  /**
   * Takes the bytes from `offset` on. Where the source fails or the signal
   * aborts, what it gave stays; the partial is then to be disposed of. Errors:
   * the source's, `cancelled`, `size-mismatch` past the blob's size.
   */
  append(
    source: AsyncIterable<Uint8Array>,
    options?: { signal?: AbortSignal; follower?: BlobFollower },
  ): Promise<void>
  /**
   * Makes the blob of it, durably; one that is there by then wins. Errors:
   * `digest-mismatch`, after which nothing is there; `size-mismatch` where bytes are missing, which leaves them.
   */
  finish(): Promise<BlobInfo>
}

export interface ContentStore {
  info(digest: Digest): Promise<BlobInfo | undefined>
  /** The bytes of a blob, or of a range of it. Errors: `not-found`. */
  open(digest: Digest, range?: { start: number; end?: number }): Readable
  /** A small blob (config, manifest) whole. Errors: `not-found`, `too-large` past `limit` (4 MiB unless told). */
  bytes(digest: Digest, limit?: number): Promise<Buffer>
  /** Path of a blob's file, for workers that read it themselves. */
  path(digest: Digest): string
  /** Stores small bytes durably. */
  put(bytes: Uint8Array): Promise<BlobInfo>
  /** Streams bytes in, hashing. With `expected`, a difference removes what was written: `digest-mismatch`, `size-mismatch`. */
  write(
    source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options?: { expected?: Partial<BlobInfo>; signal?: AbortSignal; follower?: BlobFollower },
  ): Promise<BlobInfo>
  /** Opens a blob that comes in parts, by one at a time. */
  partial(blob: BlobInfo): Promise<PartialBlob>
  partials(): AsyncIterable<PartialInfo>
  /** Removes those that nobody has open; gives the bytes freed. */
  dropPartials(): Promise<number>
  remove(digest: Digest): Promise<void>
  list(): AsyncIterable<BlobInfo>
  /** Where damaged blobs go. */
  readonly quarantine: Quarantine
  /** Removes the leavings of ingests that a crash cut off, and partials of a week ago; to be called once, before any write. */
  recover(): Promise<void>
}

export interface Layer {
  key: Digest
  diffId: Digest
  /** The directory to list as lowerdir. */
  path: string
  /** Sum of the sizes of regular files, in bytes (what Docker shows as layer size). */
  size: number
  /** Blocks on disk in bytes, the layer's own records included (as `du`). */
  diskBytes: number
  /** Number of entries. */
  entries: number
  /** Metadata of the root directory, where the archive tells it. */
  root?: { mode: number; uid: number; gid: number }
  /** The layer hides everything below it. */
  opaqueRoot: boolean
}

/** One layer of an image that is to be unpacked. */
export interface LayerSource {
  /** The blob as stored: plain, gzip or zstd, told by its first bytes. */
  blob: Digest
  /** From the image's config; verified while unpacking: `digest-mismatch`. */
  diffId: Digest
}

/** An unpacked layer at its place in a stack. */
export interface LayerPlace {
  layer: Layer
  source: LayerSource
  /** Bottom first. */
  below: readonly Layer[]
}

export interface LayerWorkOptions {
  signal?: AbortSignal
  /** Bytes of the blob read so far. */
  onProgress?: (bytes: number) => void
}

/** A layer unpacked anew, which is thrown away when it is disposed of before it took the old one's place. */
export interface RemadeLayer extends Disposable {
  /**
   * Puts it in the old one's place; `users` are the uppers that have that one mounted: they go on with it, and it
   * goes with the last of their mounts. False where the layer has been removed meanwhile. Never waits.
   */
  replace(users: readonly string[]): boolean
}

/** A blob that is unpacked while it comes in. What nobody took of it is removed when it is disposed of. */
export interface ArrivingLayer extends BlobFollower, Disposable {}

/** A folder of a layer that was made here, and what its archive comes to. */
export type AdoptedLayer = Omit<Layer, 'key' | 'path'>

export interface LayerStore {
  /** Unpacks what a `ContentStore.write` brings while it does; `size` as far as it is known, in bytes. */
  follow(options?: { size?: number; signal?: AbortSignal }): ArrivingLayer
  /**
   * Unpacks what is missing of an image, bottom first, in parallel and in workers. Its blobs are durable; the
   * layers become so in the background, and are unpacked again where the power fails before.
   */
  ensure(
    sources: readonly LayerSource[],
    options?: {
      signal?: AbortSignal
      /** Blobs whose digest was computed just now: it is not computed again where it is the layer's too. */
      verified?: (blob: Digest) => boolean
      /** Blobs that were followed while they came in. */
      arrived?: (blob: Digest) => ArrivingLayer | undefined
      /** Bytes of the blob read so far. */
      onProgress?: (source: LayerSource, bytesRead: number) => void
    },
  ): Promise<Layer[]>
  /** The layers of a stack of diff ids, bottom first; undefined where one is not unpacked. */
  find(diffIds: readonly Digest[]): Promise<Layer[] | undefined>
  /** The same with undefined for each that is not unpacked. */
  present(diffIds: readonly Digest[]): (Layer | undefined)[]
  list(): Promise<Layer[]>
  /** Out of the way when it returns; its content goes in the background. Absent is fine. */
  remove(key: Digest): Promise<void>
  /** What of a layer is not there at all, its folder or its record; undefined where both are. */
  look(layer: Layer): 'folder' | 'record' | undefined
  /** Compares a layer with its blob. Errors: `blob-missing`, `not-found` where the layer's directory is gone, `bad-request` for a damaged blob. */
  compare(place: LayerPlace, options?: LayerWorkOptions): Promise<Comparison>
  /** Unpacks a layer that is there once more. Errors: `blob-missing`, `digest-mismatch`, those of unpacking. */
  remake(place: LayerPlace, options?: LayerWorkOptions): Promise<RemadeLayer>
  /**
   * Makes the layer of its diff id of a folder that holds `diff/`, and its whiteouts where they are recorded, by a
   * rename on the same file system; a link to it stays at `home`. One that is there already wins: then the folder
   * stays, and is the caller's.
   */
  adopt(home: string, known: AdoptedLayer): Promise<Layer>
  /** An upper is mounted no more: layers that were replaced under it are not needed by it any longer. */
  released(id: string): void
  /** Folders of layers that were replaced, and that somebody still has mounted. */
  replaced(): string[]
  /** Removes what a crash left half made or half removed; to be called once, before anything else. */
  recover(): Promise<void>
  /** Once, when the uppers are recovered: replaced layers that nobody has mounted any more go. */
  recoverReplaced(mountedWith: (key: Digest) => string[]): void
  /** Resolves when all layers are durable: before that, no blob may go that one of them was made from. */
  synced(): Promise<void>
  /** Resolves when nothing is being written or deleted in the background. */
  idle(): Promise<void>
}

/** `size` of files and symbolic links, each inode once and holes included, as `docker ps -s` tells it; `diskBytes` as `du` tells it. */
export interface UpperUsage {
  size: number
  diskBytes: number
}

export type ChangeKind = 0 | 1 | 2 // modified, added, deleted, as in the Engine API

export interface Change {
  Path: string
  Kind: ChangeKind
}

export interface UpperMount {
  /** Drops the container's fsync; only where the layer dies with the container. */
  volatile?: boolean
  /** SELinux context of the whole mount. */
  label?: string
  /** Owners are seen by these, and what is written lies on disk as seen from inside. */
  owners?: IdMaps
}

export interface UpperStore {
  /**
   * Makes the writable directory of a container over a stack of layers, bottom
   * first. Idempotent. `init` puts an init layer over them: places for what is
   * mounted into every container, which are then no change of its own. `limit`:
   * most bytes that it comes to hold, where `canLimit`.
   */
  create(id: string, layers: readonly Layer[], options?: { init: boolean; limit?: number }): Promise<void>
  /** Whether the file system keeps quotas of projects. */
  readonly canLimit: boolean
  /**
   * Mounts it and returns the root path. Idempotent: a mount that is there is taken over.
   */
  mount(id: string, options?: UpperMount): Promise<string>
  /** Whether owners can be mapped here, found by trying once, when it is recovered. Errors: `owners-cannot-be-mapped`. */
  checkOwners(owners: IdMaps): Promise<void>
  /** The root path if it is mounted now. */
  mounted(id: string): string | undefined
  /** Ids that have a mount point, whether something is mounted there or not. */
  places(): string[]
  /** Those that are mounted and have this layer in their stack. */
  mountedWith(key: Digest): string[]
  unmount(id: string): Promise<void>
  /** Unmounts and removes; the directory is out of the way when it returns, its content goes later. Idempotent. */
  remove(id: string): Promise<void>
  usage(id: string): Promise<UpperUsage>
  /** What differs from the layers, in path order, as `docker diff` shows. */
  changes(id: string): Promise<Change[]>
  /** The upper as a layer tar with whiteouts (for commit). */
  diffTar(id: string, signal?: AbortSignal): Readable
  list(): Promise<string[]>
  /** Paths that `docker inspect` shows as GraphDriver.Data of overlay2. */
  paths(id: string): { LowerDir: string; MergedDir: string; UpperDir: string; WorkDir: string }
  /** Ids that exist after a crash are kept; half-made and half-removed ones are finished or undone. */
  recover(): Promise<void>
  /** Resolves when nothing is being deleted in the background. */
  idle(): Promise<void>
}

/** What a build step writes to. Disposing of it before it is committed leaves nothing. */
export interface PendingSnapshot extends AsyncDisposable {
  readonly id: string
  /** Where the whole stack is seen and written to; of a direct one what is written, which lies over `below`. */
  readonly root: string
  /**
   * Of a direct one the layers that it lies over, bottom first, where `root` does not show them: whiteouts and
   * opaque marks are the writer's to make then.
   */
  readonly below: readonly StackLayer[]
  /** Of a direct one: inodes that files of the layers below share with files elsewhere. */
  readonly linked: ReadonlySet<number>
  /**
   * Unmounts it and keeps it, durably in the background. Nothing may be writing any more. `linked`: inodes of files
   * that are hard links to files outside of any layer.
   */
  commit(options?: { linked?: readonly number[]; signal?: AbortSignal }): Promise<Layer>
}

/** A stack mounted for reading. */
export interface StackView extends AsyncDisposable {
  readonly root: string
}

export interface BeginSnapshot {
  /** Owners are seen by these, and what is written lies on disk as seen from inside. */
  owners?: IdMaps
  /** Places for what is mounted into every container lie between, as in `UpperStore.create`, and are no part of it. */
  init?: boolean
  /** SELinux context of the whole mount. */
  label?: string
  /** Not mounted: who writes knows of whiteouts, and may hard-link files in. */
  isDirect?: boolean
}

export interface SealOptions {
  signal?: AbortSignal
  /** Gets the archive, and is to read all of it. */
  through?: (archive: Readable) => Promise<void>
}

/**
 * Layers that build steps make: whole or absent after any crash; who needs them
 * is the caller's knowledge. One is used in stacks as any layer, its `key` and
 * `diffId` being made of its id until it is sealed, which moves its folder and
 * harms no mount. What something of this store is mounted over goes from the
 * disk only with the last such mount.
 */
export interface SnapshotStore {
  /** Over layers, bottom first; none begin with an empty root, of root, 0755. Errors: `conflict` where the id is taken. */
  begin(id: string, below: readonly Layer[], options?: BeginSnapshot): Promise<PendingSnapshot>
  /** An empty stack gives an empty folder. */
  view(layers: readonly Layer[], options?: Pick<BeginSnapshot, 'owners' | 'label'>): Promise<StackView>
  /** Also of one that is sealed: then the layer of its diff id. */
  find(id: string): Layer | undefined
  /**
   * Finds the diff id and makes it the layer of that; one that is there already wins. The archive's
   * bytes go through `through`, where given, while they are hashed. Two at once share the work; of one that is
   * sealed the archive is made once more for `through`. Errors: `not-found`, `cancelled`, those of `through`.
   */
  seal(id: string, options?: SealOptions): Promise<Layer>
  /** The layer's archive, the same bytes each time; `epoch`, in seconds: times later than it become it, which makes another diff id. */
  archive(id: string, options?: { epoch?: number; signal?: AbortSignal }): Readable
  usage(id: string): Promise<UpperUsage>
  list(): Promise<string[]>
  /** Keys of the layers that snapshots were sealed into: no image need name them. */
  sealed(): Set<Digest>
  /**
   * Who has this layer in use, an image's or one of steps: mounts, and those who hold it. As `UpperStore.mountedWith`
   * for `RemadeLayer.replace`; the layer store hears when one of them lets go.
   */
  mountedWith(key: Digest): string[]
  /** For who reads layers without a mount. */
  hold(layers: readonly Layer[]): Disposable
  /** Out of the way when it returns; what was sealed stays as a layer. Absent is fine. */
  remove(id: string): Promise<void>
  /** Removes what a crash left half-made; once, after the layers' and before anything else. */
  recover(): Promise<void>
  idle(): Promise<void>
}
