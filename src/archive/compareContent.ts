import { readSync } from 'node:fs'
import { SystemError } from '../linux/ffi.ts'
import { closeFd, type Name, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, openAt } from '../linux/files.ts'
import { S_IFMT, S_IFREG, statFd } from '../linux/stat.ts'
import type { Place } from './compareEntry.ts'
import { isDiskError } from './diskErrors.ts'
import type { TarEntry } from './types.ts'

const STEP = 1 << 18
const scratch = Buffer.allocUnsafe(STEP)
const zeros = Buffer.alloc(STEP)

/** Of a hole that is longer, only the two ends are looked at: reading one of terabytes would take for ever. */
const HOLE = 64 << 20

/** Fills `into` from a position as far as there are bytes. */
const readAt = (fd: number, into: Buffer, position: number): number => {
  let done = 0
  while (done < into.length) {
    const count = readSync(fd, into, done, into.length - done, position + done)
    if (count === 0) break
    done += count
  }
  return done
}

const openRegular = (dir: number, name: Name): number | undefined => {
  let fd: number
  try {
    fd = openAt(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  } catch (error) {
    if (error instanceof SystemError && ['ENOENT', 'ELOOP', 'ENXIO'].includes(error.code)) return undefined
    throw error
  }
  if ((statFd(fd).mode & S_IFMT) === S_IFREG) return fd
  closeFd(fd)
  return undefined
}

/** A file's content beside the archive's, chunk by chunk. */
export class ContentComparison implements Disposable {
  readonly #fd: number
  readonly #size: number
  #end = 0
  #same = true

  private constructor(fd: number, size: number) {
    this.#fd = fd
    this.#size = size
  }

  /** Undefined where there is nothing to compare: no file, or one of another size, which is told of already. */
  static of(entry: TarEntry, { dir, name }: Place): ContentComparison | undefined {
    const fd = dir === undefined ? undefined : openRegular(dir, name)
    if (fd === undefined) return undefined
    if (statFd(fd).size === entry.size) return new ContentComparison(fd, entry.size)
    closeFd(fd)
    return undefined
  }

  data(chunk: Buffer, offset: number): void {
    this.#hole(offset)
    this.#compare(chunk, offset)
    this.#end = offset + chunk.length
  }

  /** True where all of it was the same. */
  end(): boolean {
    this.#hole(this.#size)
    return this.#same
  }

  [Symbol.dispose](): void {
    closeFd(this.#fd)
  }

  #hole(until: number): void {
    const length = until - this.#end
    const looked = length <= HOLE ? length : HOLE / 2
    this.#zeros(this.#end, this.#end + looked)
    if (looked < length) this.#zeros(until - looked, until)
  }

  #zeros(from: number, until: number): void {
    for (let at = from; at < until && this.#same; at += STEP)
      this.#compare(zeros.subarray(0, Math.min(STEP, until - at)), at)
  }

  /** False where the file does not give that much. */
  #read(into: Buffer, position: number): boolean {
    try {
      return readAt(this.#fd, into, position) === into.length
    } catch (error) {
      if (isDiskError(error)) return false
      throw error
    }
  }

  #compare(wanted: Buffer, position: number): void {
    for (let at = 0; at < wanted.length && this.#same; at += STEP) {
      const part = wanted.subarray(at, at + STEP)
      const found = scratch.subarray(0, part.length)
      this.#same = this.#read(found, position + at) && found.equals(part)
    }
  }
}

/** Whether two files hold the same; false where one is none. */
export const sameContent = (a: { dir: number; name: Name }, b: { dir: number; name: Name }): boolean => {
  const [one, other] = [openRegular(a.dir, a.name), openRegular(b.dir, b.name)]
  try {
    if (one === undefined || other === undefined) return false
    const mine = Buffer.allocUnsafe(STEP)
    for (let at = 0; ; at += STEP) {
      const count = readAt(one, mine, at)
      if (readAt(other, scratch, at) !== count) return false
      if (!mine.subarray(0, count).equals(scratch.subarray(0, count))) return false
      if (count < STEP) return true
    }
  } finally {
    for (const fd of [one, other]) if (fd !== undefined) closeFd(fd)
  }
}
