import { createHash, hash as digestOf, type Hash } from 'node:crypto'
import { writeSync } from 'node:fs'
import type { ByteString } from '../../archive/paths.ts'
import { failpoint } from '../../core/failpoint.ts'
import {
  chmodFd,
  closeFd,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_WRONLY,
  openAt,
  setTimesFd,
} from '../../linux/files.ts'
import { type FileStat, statFd } from '../../linux/stat.ts'
import type { Digest } from '../../oci/digest.ts'
import { type ContextPlaces, setXattrs } from './contextPlaces.ts'

/** What a file is to be. */
export interface WantedFile {
  /** Its place among the entries, by which it is asked for. */
  number: number
  path: ByteString
  /** Its name is taken by what it is to replace. */
  replaces: boolean
  mode: number
  mtime: bigint
  xattrs: Record<string, Uint8Array>
}

const writeWhole = (fd: number, bytes: Uint8Array): void => {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at)
}

/**
 * A file that is coming. Where there was one, it has its name once it is whole; else from the beginning, which spares a
 * fifth of what a small file costs: until it is whole it has not the client's time, and counts as another one.
 */
export class ArrivingFile implements Disposable {
  readonly wanted: WantedFile
  readonly #places: ContextPlaces
  /** Most files come in one piece: it is kept until the next one, or the end. */
  #first: Uint8Array | undefined
  #fd: number | undefined
  #hash: Hash | undefined
  size = 0

  constructor(places: ContextPlaces, wanted: WantedFile) {
    this.#places = places
    this.wanted = wanted
  }

  /** The bytes are the file's from now on. */
  write(bytes: Uint8Array): void {
    this.size += bytes.length
    if (this.#fd === undefined && this.#first === undefined) {
      this.#first = bytes
      return
    }
    const fd = this.#begin()
    writeWhole(fd, bytes)
    this.#hash?.update(bytes)
  }

  /** Gives it its name. */
  finish(): { stat: FileStat; digest: Digest } {
    const hex =
      this.#hash === undefined
        ? digestOf('sha256', this.#first ?? new Uint8Array(), 'hex')
        : this.#hash.digest('hex')
    const fd = this.#open()
    if (this.#first) writeWhole(fd, this.#first)
    this.#first = undefined
    setXattrs(fd, this.wanted.xattrs)
    failpoint('context.file')
    // The last thing: what has the client's time is whole.
    setTimesFd(fd, this.wanted.mtime, this.wanted.mtime)
    const stat = statFd(fd)
    // A umask, or what a write takes away; without it, it does not look as the client's either.
    if ((stat.mode & 0o7777) !== this.wanted.mode) chmodFd(fd, this.wanted.mode)
    this[Symbol.dispose]()
    if (this.wanted.replaces) this.#places.place(this.wanted.number, this.wanted.path)
    return { stat, digest: `sha256:${hex}` }
  }

  /** From the second piece on. */
  #begin(): number {
    const fd = this.#open()
    if (this.#first) {
      this.#hash = createHash('sha256')
      writeWhole(fd, this.#first)
      this.#hash.update(this.#first)
      this.#first = undefined
    }
    return fd
  }

  #open(): number {
    if (this.#fd !== undefined) return this.#fd
    const { replaces, number, path, mode } = this.wanted
    const { dir, name } = replaces ? this.#places.unfinishedAt(number) : this.#places.at(path)
    this.#fd = openAt(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode)
    return this.#fd
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeFd(this.#fd)
    this.#fd = undefined
  }
}
