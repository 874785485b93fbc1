import { writeSync } from 'node:fs'
import { badRequest } from '../core/errors.ts'
import { SystemError } from '../linux/ffi.ts'
import {
  chmodFd,
  chownAt,
  chownFd,
  closeFd,
  deviceNumber,
  linkAt,
  makeDirAt,
  makeNodeAt,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_RDONLY,
  O_WRONLY,
  openAt,
  setTimesAt,
  setTimesFd,
  symlinkAt,
  truncateFd,
} from '../linux/files.ts'
import { type IdMaps, rootOf } from '../linux/idMaps.ts'
import {
  type FileStat,
  isDirectory,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFMT,
  statAt,
  statFd,
} from '../linux/stat.ts'
import type { Budget } from './budget.ts'
import { Directories } from './directories.ts'
import { attributesOutside, ownerOutside } from './mappedOwners.ts'
import { type Owner, ownerOf, restoreXattrsAt, restoreXattrsFd, taints } from './metadata.ts'
import type { TarHandler } from './parser.ts'
import { type ByteString, baseOf, cleanPath, parentOf, show, toByteString, toBytes } from './paths.ts'
import { removeAt } from './removal.ts'
import type { TarEntry } from './types.ts'

/** What a layer does with names that a plain archive does not know. Each may take an entry away. */
export interface ExtractRules {
  /** Returns true where the entry is not to be made. */
  skip?(entry: TarEntry, path: ByteString): boolean
  /** A directory was made that no entry told of. */
  implied?(path: ByteString): void
  /** A hard link's target is not there. Returns true where that is taken care of. */
  missing?(entry: TarEntry, path: ByteString, target: ByteString): boolean
  /** Called before an entry is made at a path. */
  placed?(path: ByteString): void
}

export interface ExtractOptions {
  /** Everything belongs to this owner instead of the archive's. */
  owner?: Owner
  /** A directory may not be replaced by another type, nor the other way round (`docker cp`). */
  keepKinds?: boolean
  /**
   * The directory is new, ours alone and empty, and the thread's umask is 0:
   * a file's mode then comes out as created.
   */
  fresh?: boolean
  /** Metadata of the root itself is taken from the archive's entry `.`. */
  rootMetadata?: boolean
  rules?: ExtractRules
  /** The archive's owners are as inside of a user namespace with these. */
  maps?: IdMaps
}

/** Sums over what was made. `replaced` tells that something was made twice, so the sums are too large. */
export interface ExtractTotals {
  size: number
  diskBytes: number
  entries: number
  replaced: boolean
}

const codeOf = (error: unknown): string => (error instanceof SystemError ? error.code : '')

const nodeTypes = { char: S_IFCHR, block: S_IFBLK, fifo: S_IFIFO } as const

interface OpenFile {
  fd: number
  entry: TarEntry
  end: number
}

/**
 * Makes an archive's entries below an open directory. Synchronous: for
 * workers. Every parent is resolved inside the root, every last name is made
 * exclusively and never followed. Errors: BerthError for what the archive did
 * wrong, SystemError for what the filesystem refused.
 */
export class Extractor implements TarHandler, Disposable {
  readonly #dirs: Directories
  readonly #budget: Budget
  readonly #options: ExtractOptions
  readonly #rules: ExtractRules
  /** Directory times are set last: filling a directory changes them. */
  readonly #times = new Map<ByteString, bigint>()
  readonly totals: ExtractTotals = { size: 0, diskBytes: 0, entries: 0, replaced: false }
  #file: OpenFile | undefined
  #exact: boolean

  constructor(root: number, budget: Budget, options: ExtractOptions = {}) {
    this.#budget = budget
    this.#options = options
    this.#rules = options.rules ?? {}
    this.#dirs = new Directories(root, path => this.#implied(path))
    this.#exact = !options.fresh
  }

  get directories(): Directories {
    return this.#dirs
  }

  entry(given: TarEntry): void {
    const entry = this.#mapped(given)
    this.#budget.countEntry()
    const path = cleanPath(toByteString(entry.name))
    if (this.#rules.skip?.(entry, path)) return
    if (path === '') {
      this.#root(entry)
      return
    }
    this.#rules.placed?.(path)
    this.totals.entries++
    if (entry.type === 'file') this.#openFile(entry, path)
    else if (entry.type === 'directory') this.#directory(entry, path)
    else if (entry.type === 'link') this.#link(entry, path)
    else if (entry.type === 'symlink') this.#symlink(entry, path)
    else this.#node(entry, path, nodeTypes[entry.type])
  }

  /** With its owner as it is outside. */
  #mapped(entry: TarEntry): TarEntry {
    const { maps, owner } = this.#options
    if (!maps) return entry
    return {
      ...entry,
      ...ownerOutside(ownerOf(entry, owner), maps),
      xattrs: attributesOutside(entry.xattrs, maps),
    }
  }

  #implied(path: ByteString): void {
    const { maps } = this.#options
    if (maps) {
      const { uid, gid } = rootOf(maps)
      chownAt({ dir: this.#dirs.make(parentOf(path)), name: toBytes(baseOf(path)) }, uid, gid)
    }
    this.#rules.implied?.(path)
  }

  data(chunk: Buffer, offset: number): void {
    const file = this.#file
    if (!file) return
    this.#budget.wrote(chunk.length)
    for (let done = 0; done < chunk.length; )
      done += writeSync(file.fd, chunk, done, chunk.length - done, offset === file.end ? null : offset + done)
    // After a write at a position the descriptor's own has not moved, so later ones are positioned too.
    file.end = offset === file.end ? offset + chunk.length : Number.NaN
  }

  close(): void {
    const file = this.#file
    if (!file) return
    this.#file = undefined
    try {
      this.#finishFile(file)
    } finally {
      closeFd(file.fd)
    }
  }

  /** Directory times; after everything else was made. */
  finish(): void {
    for (const [path, mtime] of this.#times)
      try {
        const fd = openAt(
          this.#dirs.find(parentOf(path)),
          toBytes(baseOf(path) || '.'),
          O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
        )
        try {
          setTimesFd(fd, mtime, mtime)
          this.totals.diskBytes += statFd(fd).diskBytes
        } finally {
          closeFd(fd)
        }
      } catch (error) {
        // Replaced by a later entry.
        if (!['ENOENT', 'ENOTDIR', 'ELOOP'].includes(codeOf(error))) throw error
      }
  }

  [Symbol.dispose](): void {
    if (this.#file) closeFd(this.#file.fd)
    this.#file = undefined
    this.#dirs[Symbol.dispose]()
  }

  #root(entry: TarEntry): void {
    if (entry.type !== 'directory')
      throw badRequest(`the archive has a ${entry.type} in place of its root directory`)
    if (this.#options.rootMetadata) this.#finishDirectory(entry, '', this.#dirs.root)
  }

  /** Makes something; what is in the way goes first, where the rules allow it. */
  #place(entry: TarEntry, path: ByteString, make: (dir: number, name: Buffer) => void): void {
    const name = toBytes(baseOf(path))
    const dir = this.#dirs.make(parentOf(path))
    try {
      make(dir, name)
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw this.#explained(error, entry)
      this.#clear(dir, name, path)
      make(this.#dirs.make(parentOf(path)), name)
    }
  }

  #explained(error: unknown, entry: TarEntry): unknown {
    const code = codeOf(error)
    if (code === 'ENAMETOOLONG' || code === 'EINVAL')
      return badRequest(`the filesystem refuses the archive's name ${show(entry.name)}: ${code}`, error)
    return error
  }

  #clear(dir: number, name: Buffer, path: ByteString): void {
    const there = statAt(dir, name)
    if (this.#options.keepKinds && isDirectory(there))
      throw badRequest(`cannot overwrite directory ${show(path)} with non-directory`)
    this.totals.replaced = true
    removeAt(dir, name)
    const kind = there.mode & S_IFMT
    if (kind !== S_IFDIR && kind !== 0o120000) return
    this.#dirs.forget()
    this.#times.delete(path)
  }

  #openFile(entry: TarEntry, path: ByteString): void {
    this.#budget.claim(entry.size)
    if (!entry.sparse) this.#budget.claimReal(entry.size)
    const mode = this.#exact ? 0o600 : entry.mode & 0o777
    this.#place(entry, path, (dir, name) => {
      this.#file = { fd: openAt(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, mode), entry, end: 0 }
    })
  }

  #finishFile({ fd, entry, end }: OpenFile): void {
    if (end !== entry.size) truncateFd(fd, entry.size)
    this.#own(entry, fd)
    if (this.#exact || entry.mode & 0o7000) chmodFd(fd, entry.mode)
    restoreXattrsFd(entry, fd)
    setTimesFd(fd, entry.mtime, entry.mtime)
    this.totals.size += entry.size
    // Blocks are asked for where they cannot be told from the size.
    this.totals.diskBytes +=
      entry.sparse || entry.xattrs.size > 0 ? statFd(fd).diskBytes : this.#blocks(entry.size)
  }

  #blocks(size: number): number {
    return Math.ceil(size / 4096) * 4096
  }

  /** A given owner was mapped with the entry. */
  #ownerOf(entry: TarEntry): Owner {
    return this.#options.maps ? entry : ownerOf(entry, this.#options.owner)
  }

  #own(entry: TarEntry, fd: number): void {
    const { uid, gid } = this.#ownerOf(entry)
    if (this.#exact || uid !== 0 || gid !== 0) chownFd(fd, uid, gid)
  }

  #directory(entry: TarEntry, path: ByteString): void {
    const name = toBytes(baseOf(path))
    const parent = this.#dirs.make(parentOf(path))
    try {
      makeDirAt(parent, name, entry.mode & 0o777)
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw this.#explained(error, entry)
      this.#overDirectory(parent, name, path)
    }
    const fd = openAt(this.#dirs.make(parentOf(path)), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    this.#dirs.adopt(path, fd)
    this.#finishDirectory(entry, path, fd)
  }

  #overDirectory(parent: number, name: Buffer, path: ByteString): void {
    if (isDirectory(statAt(parent, name))) return
    if (this.#options.keepKinds)
      throw badRequest(`cannot overwrite non-directory ${show(path)} with directory`)
    this.#clear(parent, name, path)
    makeDirAt(this.#dirs.make(parentOf(path)), name, 0o700)
  }

  #finishDirectory(entry: TarEntry, path: ByteString, fd: number): void {
    const { uid, gid } = this.#ownerOf(entry)
    chownFd(fd, uid, gid)
    chmodFd(fd, entry.mode)
    restoreXattrsFd(entry, fd)
    this.#times.set(path, entry.mtime)
    if (taints(entry)) this.#exact = true
  }

  #link(entry: TarEntry, path: ByteString): void {
    const target = cleanPath(toByteString(entry.linkName))
    let from: { dir: number; name: Buffer }
    try {
      if (target === '') throw badRequest(`the archive links ${show(path)} to its root`)
      from = { dir: this.#dirs.find(parentOf(target)), name: toBytes(baseOf(target)) }
      const there = statAt(from.dir, from.name)
      if (isDirectory(there))
        throw badRequest(`the archive links ${show(path)} to the directory ${show(target)}`)
      if (this.#same(path, there)) return
    } catch (error) {
      if (!['ENOENT', 'ENOTDIR'].includes(codeOf(error))) throw error
      if (this.#rules.missing?.(entry, path, target)) return
      throw badRequest(`the archive links ${show(path)} to ${show(target)}, which is not there`, error)
    }
    this.#place(entry, path, (dir, name) =>
      linkAt({ dir: this.#dirs.find(parentOf(target)), name: from.name }, { dir, name }),
    )
  }

  /** A link to itself, or made before: removing it first would lose the file. */
  #same(path: ByteString, target: FileStat): boolean {
    try {
      const here = statAt(this.#dirs.find(parentOf(path)), toBytes(baseOf(path)))
      return here.inode === target.inode && here.device === target.device
    } catch {
      return false
    }
  }

  #symlink(entry: TarEntry, path: ByteString): void {
    if (entry.linkName.length === 0)
      throw badRequest(`the archive's symbolic link ${show(path)} has no target`)
    this.#place(entry, path, (dir, name) => symlinkAt(entry.linkName, dir, name))
    this.#finishAt(entry, path)
    if (entry.linkName.length > 59) this.totals.diskBytes += 4096
  }

  #node(entry: TarEntry, path: ByteString, type: number): void {
    const device = type === S_IFIFO ? 0n : deviceNumber(entry.deviceMajor, entry.deviceMinor)
    this.#place(entry, path, (dir, name) => makeNodeAt({ dir, name }, type | entry.mode, device))
    this.#finishAt(entry, path)
  }

  #finishAt(entry: TarEntry, path: ByteString): void {
    const at = { dir: this.#dirs.make(parentOf(path)), name: toBytes(baseOf(path)) }
    const { uid, gid } = this.#ownerOf(entry)
    chownAt(at, uid, gid)
    restoreXattrsAt(entry, at.dir, at.name)
    setTimesAt(at, entry.mtime, entry.mtime)
  }
}
