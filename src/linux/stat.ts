import { constants } from 'node:os'
import { errno, libc, SystemError, sys } from './ffi.ts'
import { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, type Name, zeroEnded } from './files.ts'

export const S_IFMT = 0o170000
export const S_IFIFO = 0o010000
export const S_IFCHR = 0o020000
export const S_IFDIR = 0o040000
export const S_IFBLK = 0o060000
export const S_IFREG = 0o100000
export const S_IFLNK = 0o120000
export const S_IFSOCK = 0o140000

/** What statx tells of one inode. */
export interface FileStat {
  /** File type and permission bits. */
  mode: number
  uid: number
  gid: number
  links: number
  inode: number
  /** Device that holds the file, as `major:minor` packed into one number for comparison only. */
  device: number
  size: number
  /** Bytes on disk (512-byte blocks × 512), as `du` counts. */
  diskBytes: number
  rdevMajor: number
  rdevMinor: number
  /** Nanoseconds since the epoch. */
  mtime: bigint
  /** Nanoseconds since the epoch: when the inode changed last. */
  ctime: bigint
}

const prototype = 'int statx(int dir, const void *path, int flags, unsigned int mask, void *out)'
const call = sys(prototype)
const rawCall = libc.func(prototype)
const out = Buffer.alloc(256)
const emptyPath = Buffer.alloc(1)
const BASIC = 0x7ff

const number64 = (at: number): number => out.readUInt32LE(at) + out.readUInt32LE(at + 4) * 0x1_0000_0000

const nanosAt = (at: number): bigint =>
  out.readBigInt64LE(at) * 1_000_000_000n + BigInt(out.readUInt32LE(at + 8))

// Offsets are those of struct statx in linux/stat.h.
const decode = (): FileStat => ({
  links: out.readUInt32LE(16),
  uid: out.readUInt32LE(20),
  gid: out.readUInt32LE(24),
  mode: out.readUInt16LE(28),
  inode: number64(32),
  size: number64(40),
  diskBytes: number64(48) * 512,
  ctime: nanosAt(96),
  mtime: nanosAt(112),
  rdevMajor: out.readUInt32LE(128),
  rdevMinor: out.readUInt32LE(132),
  device: out.readUInt32LE(136) * 0x10_0000 + out.readUInt32LE(140),
})

/** The name itself, a symlink not followed. Errors: SystemError. */
export const statAt = (dir: number, name: Name): FileStat => {
  call(dir, zeroEnded(name), AT_SYMLINK_NOFOLLOW, BASIC, out)
  return decode()
}

const absent = new Set([constants.errno.ENOENT, constants.errno.ENOTDIR])

/** As `statAt`, with undefined for a name that is not there, which is no rare case: no error is made of it. */
export const statIfThere = (dir: number, name: Name): FileStat | undefined => {
  if (Number(rawCall(dir, zeroEnded(name), AT_SYMLINK_NOFOLLOW, BASIC, out)) >= 0) return decode()
  const code = errno()
  if (absent.has(code)) return undefined
  throw new SystemError('statx', code)
}

export const statFd = (fd: number): FileStat => {
  call(fd, emptyPath, AT_EMPTY_PATH, BASIC, out)
  return decode()
}

export const isDirectory = (stat: FileStat): boolean => (stat.mode & S_IFMT) === S_IFDIR

/** Overlayfs's mark of a deleted name: a character device 0:0. */
export const isWhiteout = (stat: FileStat): boolean =>
  (stat.mode & S_IFMT) === S_IFCHR && stat.rdevMajor === 0 && stat.rdevMinor === 0
