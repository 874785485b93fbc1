import { readdirSync } from 'node:fs'
import { constants } from 'node:os'
import { hasCode } from '../core/errors.ts'
import { koffi, libc, SystemError, sys } from './ffi.ts'

/**
 * File calls that Node lacks: everything relative to an open directory, names
 * as bytes, and the kernel's safe path resolution (openat2, Linux 5.6).
 * All are synchronous; paths that can hang belong into a worker or a helper.
 */

export const AT_FDCWD = -100
export const AT_SYMLINK_NOFOLLOW = 0x100
export const AT_REMOVEDIR = 0x200
export const AT_EMPTY_PATH = 0x1000

/** Open flags of Linux. These are x86-64's; arm64 exchanges some bits. */
const arm = process.arch === 'arm64'
export const O_RDONLY = 0
export const O_WRONLY = 1
export const O_CREAT = 0o100
export const O_EXCL = 0o200
export const O_NONBLOCK = 0o4000
export const O_DIRECTORY = arm ? 0o40000 : 0o200000
export const O_NOFOLLOW = arm ? 0o100000 : 0o400000
export const O_CLOEXEC = 0o2000000
export const O_PATH = 0o10000000

export const RESOLVE_NO_XDEV = 0x01
export const RESOLVE_NO_MAGICLINKS = 0x02
export const RESOLVE_NO_SYMLINKS = 0x04
export const RESOLVE_BENEATH = 0x08
export const RESOLVE_IN_ROOT = 0x10

/** How every path inside a container or an image is resolved. */
export const RESOLVE_CONTAINED = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS

export type Name = Uint8Array | string

/** Bytes with the ending zero that the kernel wants. A zero within is refused. */
export const zeroEnded = (name: Name): Buffer => {
  const length = typeof name === 'string' ? Buffer.byteLength(name) : name.length
  const bytes = Buffer.allocUnsafe(length + 1)
  if (typeof name === 'string') bytes.write(name)
  else bytes.set(name)
  bytes[length] = 0
  if (bytes.indexOf(0) !== length) throw new SystemError('path', 22, JSON.stringify(bytes.toString()))
  return bytes
}

const calls = {
  openat: sys('int openat(int dir, const void *path, int flags, unsigned int mode)'),
  close: sys('int close(int fd)'),
  mkdirat: sys('int mkdirat(int dir, const void *path, unsigned int mode)'),
  unlinkat: sys('int unlinkat(int dir, const void *path, int flags)'),
  linkat: sys('int linkat(int dir, const void *path, int newDir, const void *newPath, int flags)'),
  symlinkat: sys('int symlinkat(const void *target, int dir, const void *path)'),
  readlinkat: sys('long readlinkat(int dir, const void *path, void *buffer, size_t size)'),
  mknodat: sys('int mknodat(int dir, const void *path, unsigned int mode, uint64_t dev)'),
  renameat2: sys(
    'int renameat2(int dir, const void *path, int newDir, const void *newPath, unsigned int flags)',
  ),
  fchmod: sys('int fchmod(int fd, unsigned int mode)'),
  fchown: sys('int fchown(int fd, unsigned int uid, unsigned int gid)'),
  fchownat: sys('int fchownat(int dir, const void *path, unsigned int uid, unsigned int gid, int flags)'),
  utimensat: sys('int utimensat(int dir, const void *path, const void *times, int flags)'),
  futimens: sys('int futimens(int fd, const void *times)'),
  ftruncate: sys('int ftruncate(int fd, int64_t size)'),
  fallocate: sys('int fallocate(int fd, int mode, int64_t offset, int64_t size)'),
  fstatfs: sys('int fstatfs(int fd, void *out)'),
  copyFileRange: sys(
    'long copy_file_range(int from, void *fromOffset, int to, void *toOffset, size_t size, unsigned int flags)',
  ),
  ioctl: sys('int ioctl(int fd, unsigned long request, int argument)'),
  ioctlOut: sys('int ioctl(int fd, unsigned long request, void *out)'),
  unshare: sys('int unshare(int flags)'),
}
const openat2Call = libc.func(
  'long syscall(long number, int dir, const void *path, const void *how, size_t size)',
)
const umaskCall = libc.func('unsigned int umask(unsigned int mask)')

/** Opens relative to a directory. The caller owns the descriptor. */
export const openAt = (dir: number, name: Name, flags: number, mode = 0): number =>
  calls.openat(dir, zeroEnded(name), flags | O_CLOEXEC, mode)

const how = Buffer.alloc(24)

/** Opens with the kernel's restricted resolution; `resolve` is RESOLVE_CONTAINED unless told. */
export const openIn = (
  dir: number,
  name: Name,
  options: { flags: number; mode?: number; resolve?: number },
): number => {
  how.writeBigUInt64LE(BigInt(options.flags | O_CLOEXEC), 0)
  how.writeBigUInt64LE(BigInt(options.mode ?? 0), 8)
  how.writeBigUInt64LE(BigInt(options.resolve ?? RESOLVE_CONTAINED), 16)
  for (let attempt = 0; ; attempt++) {
    const fd = Number(openat2Call(437, dir, zeroEnded(name), how, how.length))
    if (fd >= 0) return fd
    const error = new SystemError('openat2', koffi.errno(), JSON.stringify(Buffer.from(name).toString()))
    // A rename elsewhere while `..` was resolved: the kernel asks to try again.
    if (error.code !== 'EAGAIN' || attempt > 64) throw error
  }
}

const RESOLVE_CACHED = 0x20

/**
 * Whether something is at a path, as far as the kernel knows it without asking
 * any file system (Linux 5.12); undefined where it would have to. Never waits.
 */
export const isCached = (path: Name): boolean | undefined => {
  how.writeBigUInt64LE(BigInt(O_PATH | O_CLOEXEC), 0)
  how.writeBigUInt64LE(0n, 8)
  how.writeBigUInt64LE(BigInt(RESOLVE_CACHED), 16)
  const fd = Number(openat2Call(437, AT_FDCWD, zeroEnded(path), how, how.length))
  if (fd < 0) return koffi.errno() === constants.errno.ENOENT ? false : undefined
  closeFd(fd)
  return true
}

export const closeFd = (fd: number): void => {
  calls.close(fd)
}

/** An open descriptor that closes itself at the end of its block (`using`). */
export const owned = (fd: number): { fd: number } & Disposable => ({
  fd,
  [Symbol.dispose]: () => closeFd(fd),
})

export const makeDirAt = (dir: number, name: Name, mode: number): void => {
  calls.mkdirat(dir, zeroEnded(name), mode)
}

export const unlinkAt = (dir: number, name: Name, flags = 0): void => {
  calls.unlinkat(dir, zeroEnded(name), flags)
}

export interface At {
  dir: number
  name: Name
}

/** A hard link; a symlink at `from` is linked itself, not followed. */
export const linkAt = (from: At, to: At): void => {
  calls.linkat(from.dir, zeroEnded(from.name), to.dir, zeroEnded(to.name), 0)
}

export const symlinkAt = (target: Name, dir: number, name: Name): void => {
  calls.symlinkat(zeroEnded(target), dir, zeroEnded(name))
}

export const readLinkAt = (dir: number, name: Name): Buffer => {
  const buffer = Buffer.allocUnsafe(4096)
  return Buffer.from(buffer.subarray(0, calls.readlinkat(dir, zeroEnded(name), buffer, buffer.length)))
}

/** glibc's makedev. */
export const deviceNumber = (major: number, minor: number): bigint => {
  const [high, low] = [BigInt(major), BigInt(minor)]
  return (
    (low & 0xffn) | ((high & 0xfffn) << 8n) | ((low & 0xffffff00n) << 12n) | ((high & 0xfffff000n) << 32n)
  )
}

/** `mode` includes the file type (S_IFCHR, S_IFIFO, …). */
export const makeNodeAt = (at: At, mode: number, device = 0n): void => {
  calls.mknodat(at.dir, zeroEnded(at.name), mode, device)
}

/** Fail with EEXIST where the new name is taken. */
export const RENAME_NOREPLACE = 1
export const RENAME_EXCHANGE = 2

export const renameAt = (from: At, to: At, flags = 0): void => {
  calls.renameat2(from.dir, zeroEnded(from.name), to.dir, zeroEnded(to.name), flags)
}

export const chmodFd = (fd: number, mode: number): void => {
  calls.fchmod(fd, mode)
}

export const chownFd = (fd: number, uid: number, gid: number): void => {
  calls.fchown(fd, uid, gid)
}

/** Changes the owner of the name itself, never of what a symlink points at. */
export const chownAt = (at: At, uid: number, gid: number): void => {
  calls.fchownat(at.dir, zeroEnded(at.name), uid, gid, AT_SYMLINK_NOFOLLOW)
}

const times = Buffer.alloc(32)
const timeWords = new BigInt64Array(times.buffer, times.byteOffset, 4)

const fillTimes = (atime: bigint, mtime: bigint): Buffer => {
  for (const [at, nanos] of [
    [0, atime],
    [2, mtime],
  ] as const) {
    const rest = nanos % 1_000_000_000n
    const fraction = rest < 0n ? rest + 1_000_000_000n : rest
    timeWords[at] = (nanos - fraction) / 1_000_000_000n
    timeWords[at + 1] = fraction
  }
  return times
}

/** Sets access and modification time, both in nanoseconds since the epoch. */
export const setTimesFd = (fd: number, atime: bigint, mtime: bigint): void => {
  calls.futimens(fd, fillTimes(atime, mtime))
}

export const setTimesAt = (at: At, atime: bigint, mtime: bigint): void => {
  calls.utimensat(at.dir, zeroEnded(at.name), fillTimes(atime, mtime), AT_SYMLINK_NOFOLLOW)
}

export const truncateFd = (fd: number, size: number): void => {
  calls.ftruncate(fd, size)
}

const FALLOC_FL_KEEP_SIZE = 1

/** Gives a file blocks up to `size` bytes; `keepSize` leaves its length as it is. Errors: SystemError ENOSPC, EOPNOTSUPP. */
export const allocateFd = (
  fd: number,
  size: number,
  options: { keepSize: boolean } = { keepSize: false },
): void => {
  calls.fallocate(fd, options.keepSize ? FALLOC_FL_KEEP_SIZE : 0, 0, size)
}

/** Copies inside the kernel from both descriptors' positions; returns bytes copied, 0 at the end. */
export const copyRange = (from: number, to: number, size: number): number =>
  calls.copyFileRange(from, null, to, null, size, 0)

const FICLONE = 0x40049409

/** Shares the extents of `from` with the empty file `to` (btrfs, xfs); false where the filesystem cannot. */
export const cloneFile = (from: number, to: number): boolean => {
  try {
    calls.ioctl(to, FICLONE, from)
    return true
  } catch {
    return false
  }
}

const syncfsAsync = libc.func('int syncfs(int fd)')

/** As `syncFilesystem`, on a thread of libuv's pool: it can take seconds. */
export const syncFilesystemAsync = (fd: number): Promise<void> =>
  new Promise((resolve, reject) => {
    syncfsAsync.async(fd, (error: unknown, result: number) => {
      if (error) reject(error)
      else if (result < 0) reject(new SystemError('syncfs', constants.errno.EIO))
      else resolve()
    })
  })

const syncFileRange = libc.func(
  'int sync_file_range(int fd, int64_t offset, int64_t size, unsigned int flags)',
)
const SYNC_FILE_RANGE_WRITE = 2

/**
 * Begins to write a range of a file to the disk, so that a sync at the end has
 * less to wait for. Settles when that is under way, whatever came of it.
 */
export const startWriting = (fd: number, offset: number, size: number): Promise<void> =>
  new Promise(resolve => {
    syncFileRange.async(fd, offset, size, SYNC_FILE_RANGE_WRITE, () => resolve())
  })

export interface FilesystemInfo {
  /** The magic number of linux/magic.h. */
  type: number
  /** Bytes that we may still use. */
  available: number
  total: number
  freeInodes: number
}

export const filesystemTypes = { overlay: 0x794c7630, nfs: 0x6969, tmpfs: 0x01021994 } as const

export const filesystemOf = (fd: number): FilesystemInfo => {
  const out = Buffer.alloc(120)
  calls.fstatfs(fd, out)
  const word = (at: number): number => Number(out.readBigUInt64LE(at))
  const block = word(8)
  return { type: word(0), total: word(16) * block, available: word(32) * block, freeInodes: word(48) }
}

const CLONE_FS = 0x200

/**
 * Gives the calling thread its own umask (0) and working directory, so that
 * modes come out as asked. For workers: the rest of the process keeps its own.
 */
export const ownUmask = (): void => {
  calls.unshare(CLONE_FS)
  umaskCall(0)
}

const FIONREAD = 0x541b

/** Bytes in a pipe that nobody has read yet. */
export const unreadBytes = (fd: number): number => {
  const out = Buffer.alloc(4)
  calls.ioctlOut(fd, FIONREAD, out)
  return out.readInt32LE()
}

/** Of a folder's entries; none where there is no folder. */
export const namesIn = (folder: string): string[] => {
  try {
    return readdirSync(folder)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
}
