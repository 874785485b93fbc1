import { internal } from '../core/errors.ts'
import { SystemError } from '../linux/ffi.ts'
import { pathAt, setXattr, setXattrFd } from '../linux/xattrs.ts'
import { show } from './paths.ts'
import type { TarEntry } from './types.ts'

/** Owner that every unpacked entry gets, instead of the archive's. */
export interface Owner {
  uid: number
  gid: number
}

export const ownerOf = (entry: TarEntry, owner: Owner | undefined): Owner => owner ?? entry

// Overlayfs keeps its own bookkeeping in these: an archive must never write it.
const reserved = /^(trusted|user)\.overlay\./

/** True where the archive's attribute may be set at all. */
export const mayRestore = (name: string): boolean => !reserved.test(name) && !name.includes('\0')

/** Attributes that change what a program may do: losing one is an error. */
const needed = (name: string): boolean => name === 'security.capability'

const refused = new Set(['ENOTSUP', 'EOPNOTSUPP', 'EPERM', 'EACCES', 'EINVAL', 'ERANGE'])

const restore = (entry: TarEntry, set: (name: string, value: Uint8Array) => void): void => {
  for (const [name, value] of entry.xattrs) {
    if (!mayRestore(name)) continue
    try {
      set(name, value)
    } catch (error) {
      if (!(error instanceof SystemError && refused.has(error.code))) throw error
      if (needed(name))
        throw internal(
          `cannot set ${name} on ${show(entry.name)}: the filesystem or this process may not`,
          error,
        )
    }
  }
}

export const restoreXattrsFd = (entry: TarEntry, fd: number): void => {
  if (entry.xattrs.size > 0) restore(entry, (name, value) => setXattrFd(fd, name, value))
}

/** For entries that are not opened: symlinks and devices. */
export const restoreXattrsAt = (entry: TarEntry, dir: number, name: Uint8Array): void => {
  if (entry.xattrs.size > 0) restore(entry, (key, value) => setXattr(pathAt(dir, name), key, value))
}

/** True where what is made below this entry does not get the plain mode and owner (set-group-id, default ACL). */
export const taints = (entry: TarEntry): boolean =>
  (entry.mode & 0o2000) !== 0 || entry.xattrs.has('system.posix_acl_default')
