import { closeSync, constants, openSync, rmSync, statfsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode } from '../core/errors.ts'
import { allocateFd } from '../linux/files.ts'

/**
 * Space that is kept for a full disk: enough for the database, so that what
 * frees space can be recorded, and a ballast that is thrown off by a daemon
 * that is started on a full disk.
 */

const MIB = 1 << 20
const ballastBytes = 8 * MIB
/** The ballast is taken only where this many times as much is free. */
const plenty = 4
/** With less than this free the disk is called full. */
const fullBytes = 2 * ballastBytes

const bytesFree = (root: string): number => {
  const { bfree, bsize } = statfsSync(root)
  return bfree * bsize
}

/**
 * Gives a file blocks for so many bytes more than it has, its length as it is;
 * makes it where it is missing. Where that cannot be, it goes without.
 */
export const reserveFor = (file: string, bytes: number): void => {
  try {
    const fd = openSync(file, constants.O_RDWR | constants.O_CREAT, 0o600)
    try {
      allocateFd(fd, statSync(file).size + bytes, { keepSize: true })
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    if (!['ENOSPC', 'EDQUOT', 'EOPNOTSUPP', 'EFBIG'].some(code => hasCode(error, code))) throw error
  }
}

export class Ballast {
  readonly #root: string
  readonly #file: string
  #held = false

  constructor(root: string) {
    this.#root = root
    this.#file = join(root, 'ballast')
  }

  /** Takes it where there is plenty of space. Cheap and idempotent. */
  hold(): void {
    if (this.#held || bytesFree(this.#root) < plenty * ballastBytes) return
    try {
      const fd = openSync(this.#file, constants.O_RDWR | constants.O_CREAT, 0o600)
      try {
        allocateFd(fd, ballastBytes)
        this.#held = true
      } finally {
        closeSync(fd)
      }
    } catch {
      // A file system that is filled just now, or cannot allocate ahead.
      rmSync(this.#file, { force: true })
    }
  }

  /** Throws it off where so little is free that a daemon could not start. */
  releaseIfFull(): void {
    if (bytesFree(this.#root) >= ballastBytes) return
    rmSync(this.#file, { force: true })
    this.#held = false
  }

  /** What there is to say about the data root's space; empty where nothing is. */
  get warning(): string {
    const { ffree, files } = statfsSync(this.#root)
    const free = bytesFree(this.#root)
    if (files > 0 && ffree === 0) return `the file system of the data root ${this.#root} has no inodes left`
    if (free >= fullBytes) return ''
    return `the file system of the data root ${this.#root} is full (${(free / MIB).toFixed(1)} MiB free)`
  }
}
