import { readSync, writeSync } from 'node:fs'
import {
  chmodFd,
  chownAt,
  chownFd,
  cloneFile,
  copyRange,
  deviceNumber,
  makeNodeAt,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_RDONLY,
  O_WRONLY,
  openAt,
  owned,
  readLinkAt,
  setTimesAt,
  setTimesFd,
  symlinkAt,
} from '../linux/files.ts'
import { type FileStat, S_IFLNK, S_IFMT, S_IFREG, statFd } from '../linux/stat.ts'
import { getXattrFd, setXattrFd, xattrNamesOfFd } from '../linux/xattrs.ts'
import { mayRestore } from './metadata.ts'
import { type ByteString, toBytes } from './paths.ts'

/** Copies of single names inside one filesystem. */

export interface EntryAt {
  dir: number
  name: ByteString
}

const BUFFER = Buffer.allocUnsafeSlow(1 << 20)
/** Bytes that are copied between two yields. */
const PIECE = 256 << 20

function* plainCopy(from: number, to: number): Generator<void> {
  for (let count = readSync(from, BUFFER); count > 0; count = readSync(from, BUFFER)) {
    for (let done = 0; done < count; ) done += writeSync(to, BUFFER, done, count - done)
    yield
  }
}

/** What was found out of two file systems: what they cannot do is tried once. */
export interface CopyWays {
  clones: boolean
  ranges: boolean
}

/** All of it; where its size is known a call is spared. */
function* copyRanges(from: number, to: number, size = Number.POSITIVE_INFINITY): Generator<void> {
  for (let done = 0; done < size; ) {
    const count = copyRange(from, to, PIECE)
    if (count === 0) return
    done += count
    yield
  }
}

/**
 * The content, by shared extents where the filesystem can, else inside the kernel, else by hand; it yields now and
 * then. Errors: ENOSPC.
 */
export function* copyContent(
  from: number,
  to: number,
  { ways = { clones: true, ranges: true }, size }: { ways?: CopyWays; size?: number } = {},
): Generator<void> {
  if (ways.clones) {
    if (cloneFile(from, to)) return
    ways.clones = false
  }
  if (ways.ranges)
    try {
      yield* copyRanges(from, to, size)
      return
    } catch {
      ways.ranges = false
    }
  yield* plainCopy(from, to)
}

/** Owner, mode, attributes and times, as one inode has them. */
export const copyMetadata = (from: number, to: number, stat: FileStat): void => {
  chownFd(to, stat.uid, stat.gid)
  chmodFd(to, stat.mode & 0o7777)
  for (const name of xattrNamesOfFd(from)) {
    const value = mayRestore(name) ? getXattrFd(from, name) : undefined
    if (value) setXattrFd(to, name, value)
  }
  setTimesFd(to, stat.mtime, stat.mtime)
}

const copyFile = (from: EntryAt, to: EntryAt): void => {
  using source = owned(openAt(from.dir, toBytes(from.name), O_RDONLY | O_NOFOLLOW))
  using target = owned(openAt(to.dir, toBytes(to.name), O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o600))
  for (const _ of copyContent(source.fd, target.fd));
  copyMetadata(source.fd, target.fd, statFd(source.fd))
}

/** Copies one name that is not a directory, with its metadata. The target must not be there. */
export const copyEntry = (from: EntryAt, to: EntryAt, stat: FileStat): void => {
  const type = stat.mode & S_IFMT
  if (type === S_IFREG) {
    copyFile(from, to)
    return
  }
  const at = { dir: to.dir, name: toBytes(to.name) }
  if (type === S_IFLNK) symlinkAt(readLinkAt(from.dir, toBytes(from.name)), at.dir, at.name)
  else makeNodeAt(at, stat.mode, deviceNumber(stat.rdevMajor, stat.rdevMinor))
  chownAt(at, stat.uid, stat.gid)
  setTimesAt(at, stat.mtime, stat.mtime)
}
