import { read } from 'node:fs'
import { promisify } from 'node:util'
import { create } from '@bufbuild/protobuf'
import { namesOf } from '../../archive/merged.ts'
import { type ByteString, comparePaths, joinPath, toByteString, toBytes } from '../../archive/paths.ts'
import {
  AT_FDCWD,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  openAt,
  openIn,
  owned,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  readLinkAt,
} from '../../linux/files.ts'
import { type FileStat, isDirectory, S_IFLNK, S_IFMT, statAt } from '../../linux/stat.ts'
import { getXattr, pathAt, xattrNames } from '../../linux/xattrs.ts'
import { type Stat, StatSchema } from '../../wire/buildkit/fsutil_pb.ts'
import { toGoMode } from './goFileMode.ts'
import type { TreeSource } from './treeSender.ts'

/** A folder of ours as fsutil's sender lists it. */

const pieceSize = 128 * 1024

const readAt = promisify(read)

export interface FolderOptions {
  /** A folder at the client that all of it goes into: what a platform's files are told apart by. */
  prefix?: string
  /** Times of all entries, in nanoseconds since the epoch; each entry's own unless told. */
  mtime?: bigint
}

const xattrsOf = (dir: number, name: Buffer): Record<string, Uint8Array> => {
  const path = pathAt(dir, name)
  const found: Record<string, Uint8Array> = {}
  for (const key of xattrNames(path)) {
    const value = getXattr(path, key)
    if (value) found[key] = value
  }
  return found
}

class FolderSource implements TreeSource, Disposable {
  readonly #root: { fd: number } & Disposable
  readonly #prefix: ByteString
  readonly #mtime: bigint | undefined
  /** Path of the first name of each inode that has several. */
  readonly #first = new Map<string, ByteString>()

  constructor(folder: string, { prefix = '', mtime }: FolderOptions) {
    this.#root = owned(openAt(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY))
    this.#prefix = Buffer.from(prefix).toString('latin1')
    this.#mtime = mtime
  }

  *entries(): Generator<Stat> {
    if (this.#prefix !== '')
      yield create(StatSchema, {
        path: toBytes(this.#prefix),
        mode: toGoMode(0o040755),
        modTime: this.#mtime ?? 0n,
      })
    yield* this.#walk(this.#root.fd, '')
  }

  async *open(stat: Stat): AsyncGenerator<Uint8Array> {
    const path = toByteString(stat.path).slice(this.#prefix === '' ? 0 : this.#prefix.length + 1)
    using file = owned(
      openIn(this.#root.fd, toBytes(path), {
        flags: O_RDONLY | O_NOFOLLOW | O_NONBLOCK,
        resolve: RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
      }),
    )
    const buffer = Buffer.allocUnsafe(pieceSize)
    for (;;) {
      const { bytesRead } = await readAt(file.fd, buffer, 0, pieceSize, null)
      if (bytesRead === 0) return
      yield buffer.subarray(0, bytesRead)
    }
  }

  *#walk(dir: number, path: ByteString): Generator<Stat> {
    for (const name of namesOf(dir).toSorted(comparePaths)) {
      const bytes = toBytes(name)
      const stat = statAt(dir, bytes)
      const below = joinPath(path, name)
      yield this.#entry({ dir, name: bytes, path: below }, stat)
      if (!isDirectory(stat)) continue
      using child = owned(openAt(dir, bytes, O_RDONLY | O_DIRECTORY | O_NOFOLLOW))
      yield* this.#walk(child.fd, below)
    }
  }

  #entry(at: { dir: number; name: Buffer; path: ByteString }, stat: FileStat): Stat {
    const isLink = (stat.mode & S_IFMT) === S_IFLNK
    const sameAs = isLink || isDirectory(stat) ? undefined : this.#sameAs(at.path, stat)
    const shown = joinPath(this.#prefix, at.path)
    return create(StatSchema, {
      path: toBytes(shown),
      mode: toGoMode(stat.mode),
      uid: stat.uid,
      gid: stat.gid,
      size: BigInt(isDirectory(stat) || sameAs !== undefined ? 0 : stat.size),
      modTime: this.#mtime ?? stat.mtime,
      linkname: isLink
        ? readLinkAt(at.dir, at.name)
        : toBytes(sameAs === undefined ? '' : joinPath(this.#prefix, sameAs)),
      devmajor: BigInt(stat.rdevMajor),
      devminor: BigInt(stat.rdevMinor),
      xattrs: isLink ? {} : xattrsOf(at.dir, at.name),
    })
  }

  #sameAs(path: ByteString, stat: FileStat): ByteString | undefined {
    if (stat.links < 2) return undefined
    const key = `${stat.device}:${stat.inode}`
    const first = this.#first.get(key)
    if (first === undefined) this.#first.set(key, path)
    return first
  }

  [Symbol.dispose](): void {
    this.#root[Symbol.dispose]()
  }
}

/** Nothing below it is followed out of it. The caller disposes of it. Errors: SystemError where it is no directory. */
export const folderSource = (folder: string, options: FolderOptions = {}): TreeSource & Disposable =>
  new FolderSource(folder, options)
