import { SystemError, sys } from './ffi.ts'
import { type Name, zeroEnded } from './files.ts'

/**
 * Extended attributes. A name below an open directory is reached by
 * `/proc/self/fd/<n>/<name>`: there are no `*xattrat` calls before Linux 6.13.
 */

const lset = sys(
  'int lsetxattr(const void *path, const void *name, const void *value, size_t size, int flags)',
)
const lget = sys('long lgetxattr(const void *path, const void *name, void *value, size_t size)')
const llist = sys('long llistxattr(const void *path, void *list, size_t size)')
const fset = sys('int fsetxattr(int fd, const void *name, const void *value, size_t size, int flags)')
const fget = sys('long fgetxattr(int fd, const void *name, void *value, size_t size)')
const flist = sys('long flistxattr(int fd, void *list, size_t size)')

/** The path by which calls without an `at` form reach a name below an open directory. */
export const pathAt = (dir: number, name: Name): Buffer =>
  Buffer.concat([Buffer.from(`/proc/self/fd/${dir}/`), Buffer.from(name)])

const LIMIT = 65536
const scratch = Buffer.allocUnsafe(LIMIT)
const absent = new Set(['ENODATA', 'EOPNOTSUPP', 'ENOTSUP', 'EPERM', 'EACCES'])

const optional = (read: () => number): number | undefined => {
  try {
    return read()
  } catch (error) {
    if (error instanceof SystemError && absent.has(error.code)) return undefined
    throw error
  }
}

const split = (list: Buffer): string[] => list.toString('latin1').split('\0').filter(Boolean)

/** Names of a descriptor's attributes; none where the filesystem has no attributes. */
export const xattrNamesOfFd = (fd: number): string[] => {
  const size = optional(() => flist(fd, scratch, LIMIT))
  return size ? split(scratch.subarray(0, size)) : []
}

export const xattrNames = (path: Name): string[] => {
  const size = optional(() => llist(zeroEnded(path), scratch, LIMIT))
  return size ? split(scratch.subarray(0, size)) : []
}

const readValue = (read: () => number): Buffer | undefined => {
  const size = optional(read)
  return size === undefined ? undefined : Buffer.from(scratch.subarray(0, size))
}

/** The value, or undefined where it is not set or may not be read. */
export const getXattrFd = (fd: number, name: string): Buffer | undefined =>
  readValue(() => fget(fd, zeroEnded(Buffer.from(name, 'latin1')), scratch, LIMIT))

export const getXattr = (path: Name, name: string): Buffer | undefined =>
  readValue(() => lget(zeroEnded(path), zeroEnded(Buffer.from(name, 'latin1')), scratch, LIMIT))

export const setXattrFd = (fd: number, name: string, value: Uint8Array): void => {
  fset(fd, zeroEnded(Buffer.from(name, 'latin1')), value, value.length, 0)
}

/** Sets it on the name itself, not on what a symlink points at. */
export const setXattr = (path: Name, name: string, value: Uint8Array): void => {
  lset(zeroEnded(path), zeroEnded(Buffer.from(name, 'latin1')), value, value.length, 0)
}
