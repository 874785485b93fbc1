import { readFileSync } from 'node:fs'
import { koffi, libc, SystemError, sys } from './ffi.ts'
import { AT_FDCWD, AT_SYMLINK_NOFOLLOW, closeFd, type Name, zeroEnded } from './files.ts'

/** Mounts by the classic calls and by the mount API of Linux 5.2 (fsopen). */

export const MS_RDONLY = 1
export const MS_NOSUID = 2
export const MS_NODEV = 4
export const MS_NOEXEC = 8
export const MS_REMOUNT = 32
export const MS_BIND = 4096
export const MS_REC = 16384
export const MS_PRIVATE = 1 << 18
export const MNT_DETACH = 2

const mountCall = sys(
  'int mount(const void *source, const void *target, const void *type, unsigned long flags, const void *data)',
)
const umountCall = sys('int umount2(const void *target, int flags)')
const statxCall = sys('int statx(int dir, const void *path, int flags, unsigned int mask, void *out)')

// These five have the same numbers on every architecture.
const raw = {
  move_mount: libc.func(
    'long syscall(long n, int from, const void *p, int to, const void *q, unsigned int flags)',
  ),
  fsopen: libc.func('long syscall(long n, const void *name, unsigned int flags)'),
  fsconfig: libc.func(
    'long syscall(long n, int fd, unsigned int command, const void *key, const void *value, int aux)',
  ),
  fsmount: libc.func('long syscall(long n, int fd, unsigned int flags, unsigned int attributes)'),
}
const numbers = { move_mount: 429, fsopen: 430, fsconfig: 431, fsmount: 432 } as const

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

/** Makes a folder a private mount of its own, so that mounts below it are seen by nobody else. Idempotent. */
export const makePrivateMount = (path: string): void => {
  if (!isMountRoot(path)) mount({ source: path, target: path, flags: MS_BIND })
  mount({ source: 'none', target: path, flags: MS_PRIVATE })
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
      invoke('move_mount', detached, zeroEnded(''), AT_FDCWD, zeroEnded(wanted.target), 4)
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
