import { readFileSync, rmdirSync } from 'node:fs'
import { hasCode } from '../core/errors.ts'
import { koffi, libc, SystemError, sys } from './ffi.ts'
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_SYMLINK_NOFOLLOW,
  closeFd,
  type Name,
  O_CLOEXEC,
  zeroEnded,
} from './files.ts'

/** Mounts by the classic calls and by the mount API of Linux 5.2 (fsopen). */

export const MS_RDONLY = 1
export const MS_NOSUID = 2
export const MS_NODEV = 4
export const MS_NOEXEC = 8
export const MS_REMOUNT = 32
export const MS_BIND = 4096
export const MS_REC = 16384
const MS_UNBINDABLE = 1 << 17
export const MS_PRIVATE = 1 << 18
const MS_SLAVE = 1 << 19
export const MNT_DETACH = 2

const mountCall = sys(
  'int mount(const void *source, const void *target, const void *type, unsigned long flags, const void *data)',
)
const umountCall = sys('int umount2(const void *target, int flags)')
const statxCall = sys('int statx(int dir, const void *path, int flags, unsigned int mask, void *out)')

// These have the same numbers on every architecture.
const raw = {
  move_mount: libc.func(
    'long syscall(long n, int from, const void *p, int to, const void *q, unsigned int flags)',
  ),
  fsopen: libc.func('long syscall(long n, const void *name, unsigned int flags)'),
  fsconfig: libc.func(
    'long syscall(long n, int fd, unsigned int command, const void *key, const void *value, int aux)',
  ),
  fsmount: libc.func('long syscall(long n, int fd, unsigned int flags, unsigned int attributes)'),
  open_tree: libc.func('long syscall(long n, int dir, const void *path, unsigned int flags)'),
  mount_setattr: libc.func(
    'long syscall(long n, int dir, const void *path, unsigned int flags, const void *attributes, size_t size)',
  ),
}
const numbers = {
  open_tree: 428,
  move_mount: 429,
  fsopen: 430,
  fsconfig: 431,
  fsmount: 432,
  mount_setattr: 442,
} as const

const invoke = (name: keyof typeof numbers, ...args: unknown[]): number => {
  const result = Number(raw[name](numbers[name], ...args))
  if (result < 0) throw new SystemError(name, koffi.errno())
  return result
}

export interface MountCall {
  source: Name
  target: Name
  type?: string
  flags?: number
  data?: string
}

/** mount(2). */
export const mount = (call: MountCall): void => {
  mountCall(
    zeroEnded(call.source),
    zeroEnded(call.target),
    call.type === undefined ? null : zeroEnded(call.type),
    call.flags ?? 0,
    call.data === undefined ? null : zeroEnded(call.data),
  )
}

/** umount2(2). It can hang or take seconds: an overlay's syncs its whole upper filesystem. */
export const unmount = (target: Name, flags = 0): void => {
  umountCall(zeroEnded(target), flags)
}

const unless = (codes: readonly string[], act: () => void): void => {
  try {
    act()
  } catch (error) {
    if (!codes.some(code => hasCode(error, code))) throw error
  }
}

/** Takes a mount away at once, and the directory that it was on; what is not there is no error. */
export const removeMountedDirectory = (target: string): void => {
  unless(['EINVAL', 'ENOENT'], () => unmount(target, MNT_DETACH))
  unless(['ENOENT'], () => rmdirSync(target))
}

/** Makes a folder a private mount of its own, so that mounts below it are seen by nobody else. Idempotent. */
export const makePrivateMount = (path: string): void => {
  if (!isMountRoot(path)) mount({ source: path, target: path, flags: MS_BIND })
  mount({ source: 'none', target: path, flags: MS_PRIVATE })
}

/** As `makePrivateMount`, and left out with all below it when mounts above it are cloned. */
export const makeHiddenMount = (path: string): void => {
  makePrivateMount(path)
  mount({ source: 'none', target: path, flags: MS_UNBINDABLE })
}

const STATX_ATTR_MOUNT_ROOT = 0x2000

/** True where a filesystem is mounted at this very path (statx, Linux 5.8); false where nothing is there. */
export const isMountRoot = (path: Name): boolean => {
  const out = Buffer.alloc(256)
  try {
    statxCall(AT_FDCWD, zeroEnded(path), AT_SYMLINK_NOFOLLOW, 0, out)
  } catch (error) {
    if (error instanceof SystemError && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) return false
    throw error
  }
  return (out.readUInt32LE(8) & STATX_ATTR_MOUNT_ROOT) !== 0
}

export interface MountInfo {
  id: number
  parent: number
  root: string
  target: string
  options: string
  type: string
  source: string
  superOptions: string
  /** `shared:1`, `master:2`, … */
  propagation: string[]
}

const unescapePath = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))

/** Lines of a mountinfo file (proc_pid_mountinfo(5)); lines of another form are left out. */
export const parseMountInfo = (text: string): MountInfo[] =>
  text.split('\n').flatMap(line => {
    const [front, back] = line.split(' - ')
    if (front === undefined || back === undefined) return []
    const [id, parent, , root, target, options, ...propagation] = front.split(' ')
    const [type, source, superOptions] = back.split(' ')
    if (target === undefined || type === undefined) return []
    return [
      {
        id: Number(id),
        parent: Number(parent),
        root: unescapePath(root ?? ''),
        target: unescapePath(target),
        options: options ?? '',
        type,
        source: unescapePath(source ?? ''),
        superOptions: superOptions ?? '',
        propagation,
      },
    ]
  })

/** The mounts of this process's mount namespace. */
export const readMounts = (): MountInfo[] => parseMountInfo(readFileSync('/proc/self/mountinfo', 'latin1'))

/** The kernel's own words about a failed fsopen context, one message a read. */
const contextMessages = (fd: number): string => {
  const buffer = Buffer.alloc(1024)
  const messages: string[] = []
  for (let count = read(fd, buffer, 1024); count > 0 && messages.length < 8; count = read(fd, buffer, 1024))
    messages.push(buffer.toString('utf8', 0, Number(count)).trim())
  return messages.join('; ')
}
const read = libc.func('long read(int fd, void *buffer, size_t size)')

const AT_RECURSIVE = 0x8000
const OPEN_TREE_CLONE = 1
const MOVE_MOUNT_F_EMPTY_PATH = 4
const MOUNT_ATTR_IDMAP = 0x00100000

/** A mount of its own of what is open, as a descriptor: nowhere to be seen until it is attached. The caller owns it. */
export const cloneMount = (fd: number, { recursive }: { recursive: boolean }): number =>
  invoke(
    'open_tree',
    fd,
    zeroEnded(''),
    OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0),
  )

/**
 * Has a mount that is attached nowhere yet show owners by the maps of a user
 * namespace: what it calls inside is on disk, what it calls outside is seen.
 * Errors: SystemError, EINVAL where a file system cannot (Linux 5.12, and each
 * file system since a version of its own), EPERM where one is mapped already.
 */
export const mapOwners = (
  fd: number,
  { namespace, recursive }: { namespace: number; recursive: boolean },
): void => {
  const attributes = Buffer.alloc(32)
  attributes.writeBigUInt64LE(BigInt(MOUNT_ATTR_IDMAP), 0)
  // A clone is a peer of what it was made of: its end would end what the host has mounted below, too.
  attributes.writeBigUInt64LE(BigInt(MS_SLAVE), 16)
  attributes.writeBigUInt64LE(BigInt(namespace), 24)
  const flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0)
  invoke('mount_setattr', fd, zeroEnded(''), flags, attributes, attributes.length)
}

/** Puts a mount that is attached nowhere yet on a path. */
export const attachMount = (fd: number, target: Name): void => {
  invoke('move_mount', fd, zeroEnded(''), AT_FDCWD, zeroEnded(target), MOVE_MOUNT_F_EMPTY_PATH)
}

const FSCONFIG_SET_FLAG = 0
const FSCONFIG_SET_STRING = 1
const FSCONFIG_CMD_CREATE = 6

export interface FilesystemMount {
  type: string
  /** In order; a key may come several times; a value of `true` is a flag. */
  options: readonly (readonly [string, string | true])[]
  source?: string
  target: string
}

/** Mounts by fsopen, fsconfig, fsmount, move_mount: no page limit on options, and errors in the kernel's words. */
export const mountFilesystem = (wanted: FilesystemMount): void => {
  const context = invoke('fsopen', zeroEnded(wanted.type), 1)
  try {
    const set = (command: number, key: string | null, value: string | null): void => {
      invoke('fsconfig', context, command, key && zeroEnded(key), value && zeroEnded(value), 0)
    }
    if (wanted.source !== undefined) set(FSCONFIG_SET_STRING, 'source', wanted.source)
    for (const [key, value] of wanted.options)
      if (value === true) set(FSCONFIG_SET_FLAG, key, null)
      else set(FSCONFIG_SET_STRING, key, value)
    set(FSCONFIG_CMD_CREATE, null, null)
    const detached = invoke('fsmount', context, 1, 0)
    try {
      attachMount(detached, wanted.target)
    } finally {
      closeFd(detached)
    }
  } catch (error) {
    const words = contextMessages(context)
    if (error instanceof SystemError && words)
      throw new SystemError(error.syscall, error.errno, `${wanted.target} (${words})`)
    throw error
  } finally {
    closeFd(context)
  }
}
