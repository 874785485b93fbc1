import { readSync } from 'node:fs'
import { badRequest } from '../core/errors.ts'
import { SystemError } from '../linux/ffi.ts'
import { closeFd, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, openAt, readLinkAt } from '../linux/files.ts'
import type { IdMaps } from '../linux/idMaps.ts'
import {
  type FileStat,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  statFd,
  statIfThere,
} from '../linux/stat.ts'
import { getXattrFd, xattrNamesOfFd } from '../linux/xattrs.ts'
import type { TreeChange } from './changes.ts'
import { Directories } from './directories.ts'
import { attributesInside, ownerInside } from './mappedOwners.ts'
import { namesOf } from './merged.ts'
import { type ByteString, baseOf, comparePaths, joinPath, parentOf, show, toBytes } from './paths.ts'
import type { EntryType, TarEntry } from './types.ts'
import { archiveEnd, encodeHeader, paddingAfter, tarEntry } from './writer.ts'

/**
 * Trees as tar archives, by descriptor, so that a symlink in a running
 * container cannot lead out. Sockets are left out. Synchronous generators:
 * they are pulled by a worker at the reader's pace.
 */

const types = new Map<number, EntryType>([
  [S_IFREG, 'file'],
  [S_IFDIR, 'directory'],
  [S_IFLNK, 'symlink'],
  [S_IFCHR, 'char'],
  [S_IFBLK, 'block'],
  [S_IFIFO, 'fifo'],
])

const CHUNK = 1 << 18
const DEPTH = 2000

const archived = (name: string): boolean =>
  name === 'security.capability' || name.startsWith('user.') || name.startsWith('system.posix_acl_')

const xattrsOf = (fd: number): Map<string, Uint8Array> => {
  const found = new Map<string, Uint8Array>()
  for (const name of xattrNamesOfFd(fd)) {
    const value = archived(name) && !name.startsWith('user.overlay.') ? getXattrFd(fd, name) : undefined
    if (value) found.set(name, value)
  }
  return found
}

export interface Item {
  dir: number
  /** Name in `dir`. */
  name: ByteString
  /** Path in the archive. */
  path: ByteString
}

const isGone = (error: unknown): boolean =>
  error instanceof SystemError && ['ENOENT', 'ELOOP', 'ENXIO', 'ENOTDIR'].includes(error.code)

interface PackerOptions {
  maps?: IdMaps | undefined
  /** Times later than it, in nanoseconds, become it. */
  latest?: bigint | undefined
  /** As Docker's layers have times: without a header for what is less than a second. */
  wholeSeconds?: boolean
}

const second = 1_000_000_000n

/** One packing: remembers hard links by inode. */
export class Packer {
  readonly #first = new Map<string, ByteString>()
  readonly #buffer = Buffer.allocUnsafeSlow(CHUNK)
  readonly #maps: IdMaps | undefined
  readonly #latest: bigint | undefined
  readonly #wholeSeconds: boolean

  constructor({ maps, latest, wholeSeconds = false }: PackerOptions = {}) {
    this.#maps = maps
    this.#latest = latest
    this.#wholeSeconds = wholeSeconds
  }

  #linkOf(item: Item, stat: FileStat): ByteString | undefined {
    if (stat.links < 2 || (stat.mode & S_IFMT) === S_IFDIR) return undefined
    const key = `${stat.device}:${stat.inode}`
    const first = this.#first.get(key)
    if (first === undefined) this.#first.set(key, item.path)
    return first
  }

  /** The blocks of one name; nothing where it vanished or is a socket. Yielded chunks are valid until the next. */
  *entry(item: Item): Generator<Buffer, FileStat | undefined> {
    const stat = statIfThere(item.dir, toBytes(item.name))
    const type = stat && types.get(stat.mode & S_IFMT)
    if (!stat || !type) return undefined
    const entry = entryFrom(item, type, { ...stat, ...ownerInside(stat, this.#maps) })
    if (this.#latest !== undefined && entry.mtime > this.#latest) entry.mtime = this.#latest
    if (this.#wholeSeconds) entry.mtime -= ((entry.mtime % second) + second) % second
    const first = this.#linkOf(item, stat)
    if (first !== undefined) yield encodeHeader({ ...entry, type: 'link', linkName: toBytes(first), size: 0 })
    else if (type === 'file') yield* this.#file(item, entry)
    else {
      if (type === 'symlink') entry.linkName = readLinkAt(item.dir, toBytes(item.name))
      if (type === 'directory') entry.xattrs = this.#attributes(withFd(item, O_DIRECTORY, xattrsOf))
      yield encodeHeader(entry)
    }
    return stat
  }

  #attributes(found: Map<string, Uint8Array>): Map<string, Uint8Array> {
    return attributesInside(found, this.#maps)
  }

  *#file(item: Item, entry: TarEntry): Generator<Buffer> {
    let fd: number
    try {
      fd = openAt(item.dir, toBytes(item.name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    } catch (error) {
      if (isGone(error)) return
      throw error
    }
    try {
      const stat = statFd(fd)
      if ((stat.mode & S_IFMT) !== S_IFREG) return
      yield encodeHeader({ ...entry, size: stat.size, xattrs: this.#attributes(xattrsOf(fd)) })
      yield* this.#content(fd, stat.size)
      yield paddingAfter(stat.size)
    } finally {
      closeFd(fd)
    }
  }

  /** Exactly `size` bytes: a file that shrinks meanwhile is filled with zeros, one that grows is cut. */
  *#content(fd: number, size: number): Generator<Buffer> {
    for (let left = size; left > 0; ) {
      let count = readSync(fd, this.#buffer, 0, Math.min(left, CHUNK), null)
      if (count === 0) {
        count = Math.min(left, CHUNK)
        this.#buffer.fill(0, 0, count)
      }
      left -= count
      yield this.#buffer.subarray(0, count)
    }
  }
}

const withFd = <T>(item: Item, flags: number, use: (fd: number) => T): T => {
  const fd = openAt(item.dir, toBytes(item.name), O_RDONLY | O_NOFOLLOW | flags)
  try {
    return use(fd)
  } finally {
    closeFd(fd)
  }
}

const entryFrom = (item: Item, type: EntryType, stat: FileStat): TarEntry => ({
  ...tarEntry({ name: toBytes(item.path), type }),
  mode: stat.mode & 0o7777,
  uid: stat.uid,
  gid: stat.gid,
  mtime: stat.mtime,
  deviceMajor: stat.rdevMajor,
  deviceMinor: stat.rdevMinor,
})

interface Frame {
  fd: number
  names: ByteString[]
  path: ByteString
}

const openFrame = (item: Item): Frame => {
  const fd = openAt(item.dir, toBytes(item.name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
  return { fd, names: namesOf(fd).sort(comparePaths).reverse(), path: item.path }
}

export interface PackOptions {
  /** What to pack: a path below the root, cleaned; '' for the root itself. Its last name is not followed. */
  path?: ByteString
  /** Name of that in the archive; '' leaves the top out and packs what is in it. */
  as?: ByteString
  /** Owners are told as they are inside of a user namespace with these. */
  maps?: IdMaps
}

function* walk(packer: Packer, top: Item): Generator<Buffer> {
  const frames: Frame[] = []
  const visit = function* (item: Item): Generator<Buffer> {
    const stat = item.path === '' ? statIfThere(item.dir, toBytes(item.name)) : yield* packer.entry(item)
    if (!stat || (stat.mode & S_IFMT) !== S_IFDIR) return
    if (frames.length > DEPTH)
      throw badRequest(`cannot archive ${show(item.path.slice(0, 100))}…: nested too deeply`)
    try {
      frames.push(openFrame(item))
    } catch (error) {
      if (!isGone(error)) throw error
    }
  }
  try {
    yield* visit(top)
    for (let frame = frames.at(-1); frame; frame = frames.at(-1)) {
      const name = frame.names.pop()
      if (name === undefined) closeFd((frames.pop() ?? frame).fd)
      else yield* visit({ dir: frame.fd, name, path: joinPath(frame.path, name) })
    }
  } finally {
    for (const frame of frames) closeFd(frame.fd)
  }
}

/** Packs a tree below an open root. Errors: SystemError where the path is not there. */
export function* packTree(root: number, options: PackOptions = {}): Generator<Buffer> {
  const path = options.path ?? ''
  using directories = new Directories(root)
  const dir = directories.find(parentOf(path))
  const name = path === '' ? '.' : baseOf(path)
  if (!statIfThere(dir, toBytes(name))) throw new SystemError('statx', 2, show(path))
  yield* walk(new Packer(options), { dir, name, path: options.as ?? baseOf(path) })
  yield archiveEnd()
}

/** Packs what `treeChanges` found as a layer: deletions become whiteouts. */
export function* packChanges(root: number, changes: readonly TreeChange[]): Generator<Buffer> {
  const packer = new Packer({ wholeSeconds: true })
  using directories = new Directories(root)
  for (const { path, kind } of changes) {
    if (kind === 'deleted') {
      yield encodeHeader(tarEntry({ name: toBytes(joinPath(parentOf(path), `.wh.${baseOf(path)}`)) }))
      continue
    }
    yield* packer.entry({ dir: directories.find(parentOf(path)), name: baseOf(path), path })
  }
  yield archiveEnd()
}
