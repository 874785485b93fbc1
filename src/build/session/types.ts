import type { Duplex } from 'node:stream'
import type { ByteString } from '../../archive/paths.ts'
import type { Digest } from '../../oci/digest.ts'

/**
 * What clients offer a builder over a *session*: one connection on which the
 * roles are exchanged, the client serving gRPC and the builder calling it.
 *
 * - **method**: a gRPC path that the client serves: `/moby.filesync.v1.FileSync/DiffCopy`.
 * - **shared key**: what a client names itself by from one build to the next.
 * - **packet**: a message of fsutil, which moves trees of files.
 */

/** A connection that became a session. */
export interface SessionConnection {
  /** Speaks HTTP/2 from its first byte. */
  socket: Duplex
  /** Bytes of it that were read already. */
  head?: Buffer
  id: string
  /** Of older clients: the folder's name. */
  name: string
  sharedKey: string
  /** Paths of what the client serves. */
  methods: readonly string[]
  /** The client's own word on how often it is asked whether it is there, and how long it may take. Milliseconds. */
  healthTimeout?: number
}

/** What is asked of a folder of the client. */
export interface ContextRequest {
  /** `context`, `dockerfile`, or that of a named context. */
  name: string
  include?: readonly string[]
  exclude?: readonly string[]
  /** Paths whose links are followed, so that what they lead to comes, too. */
  follow?: readonly string[]
  /** `none`: all files come anew, whether they look changed or not. */
  differ: 'metadata' | 'none'
}

export type EntryKind = 'directory' | 'file' | 'link' | 'fifo' | 'character' | 'block'

/** One entry of a folder as it came, relative to its root. Everything belongs to 0:0. */
export interface SyncedEntry {
  path: ByteString
  kind: EntryKind
  /** Permission bits, with set-user-id and such. */
  mode: number
  /** Of a file, in bytes; otherwise 0. */
  size: number
  /** Nanoseconds since the epoch. */
  mtime: bigint
  /** Of a file. */
  digest?: Digest
  /** Where a symbolic link points. */
  target?: ByteString
  /** Of a hard link: the path that came first. */
  sameAs?: ByteString
  device?: { major: number; minor: number }
}

/** A folder after a sync. */
export interface SyncedTree {
  /** In the order of a walk, each directory before what is in it. */
  entries: SyncedEntry[]
  /** What the client sent: files that were not there as they are now, and their bytes. */
  received: { files: number; bytes: number }
}

/** What a kept folder is after a sync. */
export interface SyncedFolder extends SyncedTree {
  /** Another one for another content. Where the content is that of before, no `entries` are told. */
  version: string
}
