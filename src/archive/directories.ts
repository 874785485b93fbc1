import { badRequest } from '../core/errors.ts'
import { SystemError } from '../linux/ffi.ts'
import {
  closeFd,
  makeDirAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  openAt,
  openIn,
  readLinkAt,
} from '../linux/files.ts'
import {
  type ByteString,
  baseOf,
  clampPath,
  joinPath,
  parentOf,
  show,
  toByteString,
  toBytes,
} from './paths.ts'

const FLAGS = O_RDONLY | O_DIRECTORY
const CACHED = 192
// openat2 takes paths of one page; longer ones are opened step by step.
const STEP = 2048
const LINKS = 40

const codeOf = (error: unknown): string => (error instanceof SystemError ? error.code : '')

/**
 * Open directories below a root, by path. Every way to them is resolved by the
 * kernel inside the root, so no symlink leads out; what is missing is made.
 * The descriptors are the cache's; `dispose` closes them.
 */
export class Directories implements Disposable {
  readonly root: number
  readonly #open = new Map<ByteString, number>()
  #newest: ByteString = ''
  readonly #onMade: (path: ByteString) => void

  /** `root` stays the caller's. `onMade` hears of directories that no entry told of. */
  constructor(root: number, onMade: (path: ByteString) => void = () => {}) {
    this.root = root
    this.#onMade = onMade
  }

  /** Opens a directory, making what is missing. The descriptor is valid for the next hundred calls. */
  make(path: ByteString): number {
    return this.#cached(path) ?? this.#keep(path, this.#openOrMake(path, 0))
  }

  /** Opens a directory that is there. Errors: SystemError (ENOENT, ENOTDIR). */
  find(path: ByteString): number {
    return this.#cached(path) ?? this.#keep(path, this.#openPath(path))
  }

  /** Takes over a descriptor that was just opened for this path. */
  adopt(path: ByteString, fd: number): void {
    const old = this.#open.get(path)
    if (old !== undefined) closeFd(old)
    this.#keep(path, fd)
  }

  /** To be called when a directory or symlink was removed: paths may mean something else now. */
  forget(): void {
    for (const fd of this.#open.values()) closeFd(fd)
    this.#open.clear()
    this.#newest = ''
  }

  [Symbol.dispose](): void {
    this.forget()
  }

  /** A hit becomes the newest: a descriptor just returned is then never the one that makes room. */
  #cached(path: ByteString): number | undefined {
    if (path === '') return this.root
    const fd = this.#open.get(path)
    if (fd === undefined || path === this.#newest) return fd
    this.#open.delete(path)
    this.#open.set(path, fd)
    this.#newest = path
    return fd
  }

  #keep(path: ByteString, fd: number): number {
    if (this.#open.size >= CACHED) {
      const [oldest] = this.#open
      if (oldest) {
        this.#open.delete(oldest[0])
        closeFd(oldest[1])
      }
    }
    this.#open.set(path, fd)
    this.#newest = path
    return fd
  }

  #openPath(path: ByteString): number {
    if (path.length <= STEP) return openIn(this.root, toBytes(path), { flags: FLAGS })
    return openAt(this.find(parentOf(path)), toBytes(baseOf(path)), FLAGS | O_NOFOLLOW)
  }

  #openOrMake(path: ByteString, links: number): number {
    if (path.length > STEP) return this.#makeInSteps(path)
    try {
      return this.#openPath(path)
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw notDirectory(path, error)
    }
    const parent = this.make(parentOf(path))
    const name = toBytes(baseOf(path))
    try {
      makeDirAt(parent, name, 0o755)
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error
      return this.#throughLink(path, links)
    }
    this.#onMade(path)
    return openAt(this.make(parentOf(path)), name, FLAGS | O_NOFOLLOW)
  }

  /** The name is a symlink to nothing (its target lies in a lower layer, say): the target is made inside the root. */
  #throughLink(path: ByteString, links: number): number {
    if (links > LINKS)
      throw badRequest(`the archive's path ${show(path)} goes through too many symbolic links`)
    let target: ByteString
    try {
      target = toByteString(readLinkAt(this.make(parentOf(path)), toBytes(baseOf(path))))
    } catch (error) {
      throw notDirectory(path, error)
    }
    const resolved = clampPath(target.startsWith('/') ? target : joinPath(parentOf(path), target))
    if (resolved === '') return openAt(this.root, '.', FLAGS)
    return this.#openOrMake(resolved, links + 1)
  }

  // Symbolic links are not followed in the part past STEP: no honest archive has them there.
  #makeInSteps(path: ByteString): number {
    const cut = path.lastIndexOf('/', STEP)
    if (cut <= 0)
      throw badRequest(`the archive's path ${show(path.slice(0, 60))}… has a name that is too long`)
    let fd = openAt(this.make(path.slice(0, cut)), '.', FLAGS)
    let done = path.slice(0, cut)
    for (const part of path.slice(cut + 1).split('/')) {
      done = joinPath(done, part)
      const parent = fd
      try {
        fd = this.#step(parent, done, part)
      } finally {
        closeFd(parent)
      }
    }
    return fd
  }

  #step(parent: number, path: ByteString, part: ByteString): number {
    try {
      makeDirAt(parent, toBytes(part), 0o755)
      this.#onMade(path)
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error
    }
    return openAt(parent, toBytes(part), FLAGS | O_NOFOLLOW)
  }
}

const notDirectory = (path: ByteString, cause: unknown): unknown =>
  ['ENOTDIR', 'EINVAL', 'ELOOP'].includes(codeOf(cause))
    ? badRequest(`cannot unpack below ${show(path)}: it is not a directory`, cause)
    : cause
