import { copyMetadata } from '../../../archive/copy.ts'
import { Directories } from '../../../archive/directories.ts'
import { namesOf, OPAQUE, type StackLayer } from '../../../archive/merged.ts'
import { MergedTree } from '../../../archive/mergedTree.ts'
import { type ByteString, baseOf, comparePaths, joinPath, parentOf, toBytes } from '../../../archive/paths.ts'
import { removeAt } from '../../../archive/removal.ts'
import { SystemError } from '../../../linux/ffi.ts'
import {
  AT_FDCWD,
  makeDirAt,
  makeNodeAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  openAt,
  owned,
  readLinkAt,
  unlinkAt,
} from '../../../linux/files.ts'
import { type FileStat, isWhiteout, S_IFCHR, statFd, statIfThere } from '../../../linux/stat.ts'
import { setXattrFd } from '../../../linux/xattrs.ts'
import type { ReadableTree } from './owner.ts'

const isCode = (error: unknown, ...codes: string[]): boolean =>
  error instanceof SystemError && codes.includes(error.code)

/**
 * What a step writes to: a directory that lies over layers, without a mount, so
 * that writing is as fast as the file system, and files can be linked in. It
 * does what overlayfs would: directories of the layers are made again before
 * something is put into them, what goes is hidden by a whiteout, and a directory
 * in the place of what went is opaque. Without layers, or over a mount of them,
 * it is a directory like any other.
 *
 * Paths are byte strings without links on their way (`resolvePath` makes them);
 * the kernel keeps each within the directory all the same.
 */
export class Target implements ReadableTree, Disposable {
  readonly #root: { fd: number } & Disposable
  readonly #dirs: Directories
  readonly #below: MergedTree
  /** Paths at which nothing of the layers is seen any more, nor below. */
  readonly #cut = new Set<ByteString>()

  /** `below`: bottom first. */
  constructor(directory: string, below: readonly StackLayer[]) {
    this.#root = owned(openAt(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY))
    this.#dirs = new Directories(this.#root.fd)
    this.#below = new MergedTree(below)
  }

  [Symbol.dispose](): void {
    this.#dirs[Symbol.dispose]()
    this.#below[Symbol.dispose]()
    this.#root[Symbol.dispose]()
  }

  stat(path: ByteString): FileStat | undefined {
    if (path === '') return statFd(this.#root.fd)
    const own = this.#own(path)
    if (own) return isWhiteout(own) ? undefined : own
    return this.#isCut(path) ? undefined : this.#below.stat(path)
  }

  /** Names in a directory, in byte order. */
  names(path: ByteString): ByteString[] {
    const below = this.#isCut(path) ? [] : this.#below.names(path)
    const names = new Set([...below, ...this.#ownNames(path)])
    return [...names].filter(name => this.stat(joinPath(path, name))).sort(comparePaths)
  }

  readLink(path: ByteString): Buffer {
    return this.#own(path)
      ? readLinkAt(this.#dirs.find(parentOf(path)), toBytes(baseOf(path)))
      : this.#below.readLink(path)
  }

  open(path: ByteString): number | undefined {
    if (this.#own(path))
      return openAt(this.#dirs.find(parentOf(path)), toBytes(baseOf(path)), O_RDONLY | O_NOFOLLOW)
    return this.#isCut(path) ? undefined : this.#below.open(path)
  }

  /** A directory that is there, to be written to; one of the layers is made again. Valid for the next hundred calls. */
  directory(path: ByteString): number {
    if (path === '') return this.#root.fd
    try {
      return this.#dirs.find(path)
    } catch (error) {
      if (!isCode(error, 'ENOENT') || this.#isCut(path)) throw error
    }
    using source = owned(this.#below.open(path, O_DIRECTORY) ?? refuse(path))
    makeDirAt(this.directory(parentOf(path)), toBytes(baseOf(path)), 0o700)
    const fd = this.#dirs.find(path)
    copyMetadata(source.fd, fd, statFd(source.fd))
    return fd
  }

  /** Makes something where nothing is; its directory must be there. */
  place(path: ByteString, make: (dir: number, name: Buffer) => void): void {
    const dir = this.directory(parentOf(path))
    const name = toBytes(baseOf(path))
    if (this.#cut.has(path)) dropWhiteout(dir, name)
    make(dir, name)
  }

  /** Makes an empty directory where nothing is; its own must be there. */
  makeDirectory(path: ByteString, mode: number): void {
    this.place(path, (dir, name) => makeDirAt(dir, name, mode))
    if (this.#cut.has(path)) setXattrFd(this.#dirs.find(path), OPAQUE, Buffer.from('y'))
  }

  /** What is there, and no directory, goes, for something that is placed there at once. */
  giveWay(path: ByteString): void {
    const own = this.#own(path)
    if (own && !isWhiteout(own)) unlinkAt(this.#dirs.find(parentOf(path)), toBytes(baseOf(path)))
  }

  /** Whatever is there goes, with all that is in it. Absent is fine. */
  remove(path: ByteString): void {
    const own = this.#own(path)
    if (own && !isWhiteout(own)) {
      removeAt(this.#dirs.find(parentOf(path)), toBytes(baseOf(path)))
      this.#dirs.forget()
    }
    if (own && isWhiteout(own)) return
    if (this.#isCut(parentOf(path)) || !this.#below.stat(path)) return
    this.#cut.add(path)
    makeNodeAt({ dir: this.directory(parentOf(path)), name: toBytes(baseOf(path)) }, S_IFCHR)
  }

  /** What is in the directory itself. */
  #own(path: ByteString): FileStat | undefined {
    try {
      return statIfThere(this.#dirs.find(parentOf(path)), toBytes(baseOf(path)))
    } catch (error) {
      if (isCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return undefined
      throw error
    }
  }

  #ownNames(path: ByteString): ByteString[] {
    try {
      return namesOf(this.#dirs.find(path))
    } catch (error) {
      if (isCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return []
      throw error
    }
  }

  #isCut(path: ByteString): boolean {
    if (this.#cut.size === 0) return false
    for (let at = path; at !== ''; at = parentOf(at)) if (this.#cut.has(at)) return true
    return false
  }
}

const refuse = (path: ByteString): never => {
  throw new SystemError('openat', 2, path)
}

const dropWhiteout = (dir: number, name: Buffer): void => {
  const there = statIfThere(dir, name)
  if (there && isWhiteout(there)) unlinkAt(dir, name)
}
