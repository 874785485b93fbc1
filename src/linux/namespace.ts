import fs from 'node:fs'
import { internal, messageOf } from '../core/errors.ts'
import { SystemError, sys } from './ffi.ts'
import { isMountRoot, makeHiddenMount } from './mount.ts'
import { removeTree } from './removeTree.ts'

/**
 * Network namespaces pinned by a bind mount. The main thread changes its own
 * namespace and comes back within one synchronous stretch: nothing else of
 * this process runs meanwhile, and no thread may be born in it, for it would
 * stay there. So inside only system calls are made.
 */

const CLONE_NEWNET = 0x40000000
const MS_BIND = 0x1000
const MNT_DETACH = 2
const O_WRONLY_CLOEXEC = 0o2000001
const NSFS_MAGIC = 0x6e736673

const unshare = sys('int unshare(int flags)')
const setns = sys('int setns(int fd, int type)')
const mount = sys(
  'int mount(const char *source, const char *target, const char *type, unsigned long flags, void *data)',
)
const umount2 = sys('int umount2(const char *target, int flags)')
const open = sys('int open(const char *path, int flags, unsigned int mode)')
const write = sys('long write(int fd, const void *bytes, size_t length)')
const close = sys('int close(int fd)')

let home: number | undefined

/**
 * Starts libuv's thread pool, so that none of its threads is born in a foreign
 * namespace, and remembers this process's own network namespace. Once, before
 * anything else here.
 */
export const prepareNamespaces = async (): Promise<void> => {
  await fs.promises.stat('/')
  home ??= fs.openSync('/proc/self/ns/net', 'r')
}

const goHome = (fd: number): void => {
  try {
    setns(fd, CLONE_NEWNET)
  } catch (error) {
    // Every later socket would be made in the wrong place: no way to go on.
    fs.writeSync(2, `berth: cannot return to the host's network namespace: ${messageOf(error)}\n`)
    process.abort()
  }
}

const homeFd = (): number => {
  if (home === undefined) throw internal('network namespaces are used before prepareNamespaces()')
  return home
}

/** Runs `work` in the network namespace of an open file. Synchronous system calls only. */
const inside = <T>(fd: number, work: () => T): T => {
  const back = homeFd()
  setns(fd, CLONE_NEWNET)
  try {
    return work()
  } finally {
    goHome(back)
  }
}

/**
 * Runs `work` in the namespace pinned at `file`. `work` makes system calls
 * only: no await, no worker, no spawn, no logging. Errors: SystemError
 * (`ENOENT`, `EINVAL` where the file pins nothing).
 */
export const inNamespace = <T>(file: string, work: () => T): T => {
  const fd = fs.openSync(file, 'r')
  try {
    return inside(fd, work)
  } finally {
    fs.closeSync(fd)
  }
}

/** Writes a small kernel file (below /proc/sys/net, say) as the calling thread, wherever it is. */
export const writeKernelFile = (file: string, text: string): void => {
  const fd = open(file, O_WRONLY_CLOEXEC, 0)
  try {
    const bytes = Buffer.from(text)
    write(fd, bytes, bytes.length)
  } finally {
    close(fd)
  }
}

/** True where `file` pins a namespace; false for a plain or absent file. */
export const isPinned = (file: string): boolean => {
  try {
    return fs.statfsSync(file).type === NSFS_MAGIC
  } catch {
    return false
  }
}

/** Pins a namespace that a path of proc(5) names. Nothing is left if it fails. */
export const pinNamespace = (source: string, file: string): void => {
  if (isPinned(file)) throw internal(`${file} pins a namespace already`)
  fs.closeSync(fs.openSync(file, 'w', 0o444))
  try {
    mount(source, file, null, MS_BIND, null)
  } catch (error) {
    fs.rmSync(file, { force: true })
    throw error
  }
}

/**
 * Creates a network namespace pinned at `file` (which must not pin one yet);
 * `setup` runs once inside. Nothing is left if it fails.
 */
export const createNamespace = (file: string, setup: () => void = () => {}): void => {
  const back = homeFd()
  if (isPinned(file)) throw internal(`${file} pins a network namespace already`)
  fs.closeSync(fs.openSync(file, 'w', 0o444))
  try {
    unshare(CLONE_NEWNET)
    try {
      mount('/proc/thread-self/ns/net', file, null, MS_BIND, null)
      setup()
    } finally {
      goHome(back)
    }
  } catch (error) {
    removeNamespace(file)
    throw error
  }
}

/** Unpins and removes; the namespace ends with its last process. Nothing to do is no error. */
export const removeNamespace = (file: string): void => {
  try {
    umount2(file, MNT_DETACH)
  } catch (error) {
    const absent = error instanceof SystemError && (error.code === 'EINVAL' || error.code === 'ENOENT')
    if (!absent) throw error
  }
  fs.rmSync(file, { force: true })
}

/**
 * Makes `folder` an unbindable bind mount of itself, once, so that pins made below
 * it are neither propagated nor cloned into other mount namespaces, where they would outlive us.
 */
export const preparePinFolder = (folder: string): void => {
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
  makeHiddenMount(folder)
}

/** Takes the bind mount of `preparePinFolder` away; its pins must be gone. */
export const removePinFolder = (folder: string): void => {
  if (!fs.existsSync(folder)) return
  if (isMountRoot(folder)) umount2(folder, MNT_DETACH)
  removeTree(folder)
}
