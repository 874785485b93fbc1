import { createHash } from 'node:crypto'
import { mkdirSync, readSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { Directories } from '../../archive/directories.ts'
import { namesOf } from '../../archive/merged.ts'
import { mayRestore } from '../../archive/metadata.ts'
import { type ByteString, baseOf, parentOf, toBytes } from '../../archive/paths.ts'
import { removeAt } from '../../archive/removal.ts'
import { failpoint } from '../../core/failpoint.ts'
import { SystemError } from '../../linux/ffi.ts'
import {
  AT_FDCWD,
  type At,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  openAt,
  owned,
  renameAt,
} from '../../linux/files.ts'
import { removeTree } from '../../linux/removeTree.ts'
import { type FileStat, statIfThere } from '../../linux/stat.ts'
import { setXattrFd } from '../../linux/xattrs.ts'
import type { Digest } from '../../oci/digest.ts'

/**
 * A context folder on disk, and a folder beside it for what is to replace
 * something in it. Nothing in it is changed: what differs is made anew and takes the name.
 */

const step = 1 << 20

const notSupported = new Set(['ENOTSUP', 'EOPNOTSUPP', 'EPERM', 'EACCES', 'EINVAL', 'ERANGE', 'ENODATA'])

/** Those that the file system or we may not set are left out. */
export const setXattrs = (fd: number, xattrs: Record<string, Uint8Array>): void => {
  for (const [name, value] of Object.entries(xattrs)) {
    if (!mayRestore(name)) continue
    try {
      setXattrFd(fd, name, value)
    } catch (error) {
      if (!(error instanceof SystemError && notSupported.has(error.code))) throw error
    }
  }
}

export class ContextPlaces implements Disposable {
  readonly #stack = new DisposableStack()
  readonly #directories: Directories
  readonly #arriving: string
  readonly root: number
  /** Where what is to replace something is made. */
  readonly #unfinished: number

  /** Removes what an earlier sync left unfinished. */
  constructor(folder: string) {
    using undo = new DisposableStack()
    mkdirSync(folder, { recursive: true, mode: 0o755 })
    this.#arriving = `${folder}.arriving`
    using parent = owned(openAt(AT_FDCWD, dirname(folder), O_RDONLY | O_DIRECTORY))
    removeAt(parent.fd, basename(this.#arriving))
    mkdirSync(this.#arriving, { mode: 0o700 })
    this.root = undo.use(owned(openAt(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW))).fd
    this.#unfinished = undo.use(owned(openAt(AT_FDCWD, this.#arriving, O_RDONLY | O_DIRECTORY))).fd
    this.#directories = undo.use(new Directories(this.root))
    this.#stack.use(undo.move())
  }

  /** Errors: SystemError where the directory is not there. */
  at(path: ByteString): At {
    return { dir: this.#directories.find(parentOf(path)), name: toBytes(baseOf(path)) }
  }

  /** Of an entry that is not whole yet, by a number of its own. */
  unfinishedAt(number: number): At {
    return { dir: this.#unfinished, name: Buffer.from(String(number)) }
  }

  directory(path: ByteString): number {
    return this.#directories.find(path)
  }

  stat(path: ByteString): FileStat | undefined {
    const { dir, name } = this.at(path)
    return statIfThere(dir, name)
  }

  /** Gives an unfinished entry its name, in place of whatever has it. */
  place(number: number, path: ByteString): void {
    const from = this.unfinishedAt(number)
    failpoint('context.place')
    try {
      renameAt(from, this.at(path))
    } catch (error) {
      if (!(error instanceof SystemError && error.code === 'EISDIR')) throw error
      this.remove(path)
      renameAt(from, this.at(path))
    }
  }

  /** Whole trees too. */
  remove(path: ByteString): void {
    const { dir, name } = this.at(path)
    removeAt(dir, name)
    this.#directories.forget()
  }

  names(directory: ByteString): ByteString[] {
    return namesOf(this.directory(directory))
  }

  /** Of a regular file. */
  digest(path: ByteString): Digest {
    const { dir, name } = this.at(path)
    using file = owned(openAt(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK))
    const hash = createHash('sha256')
    const buffer = Buffer.allocUnsafe(step)
    for (let count = readSync(file.fd, buffer); count > 0; count = readSync(file.fd, buffer))
      hash.update(buffer.subarray(0, count))
    return `sha256:${hash.digest('hex')}`
  }

  [Symbol.dispose](): void {
    this.#stack.dispose()
    removeTree(this.#arriving)
  }
}
