import { withAdvice } from '../core/advice.ts'
import { BerthError } from '../core/errors.ts'
import { filesystemOf } from '../linux/files.ts'

/** Limits against archives that unpack to more than anyone meant. */
export interface UnpackLimits {
  /** Entries of one archive. */
  entries: number
  /** Uncompressed bytes for each compressed byte, once `ratioFrom` bytes were unpacked. */
  ratio: number
  ratioFrom: number
  /** Bytes that stay free on the filesystem. */
  reserve: number
  /** Apparent size of one file, holes included. */
  fileSize: number
}

export const defaultLimits: UnpackLimits = {
  entries: 10_000_000,
  ratio: 20_000,
  ratioFrom: 1 << 30,
  reserve: 8 << 20,
  fileSize: 2 ** 44,
}

const CHECK_EVERY = 64 << 20

const tooLarge = (message: string): Error => new BerthError('archive-too-large', 400, message)

/** Counts one archive against its limits and the filesystem's free space. */
export class Budget {
  readonly #fd: number
  readonly #limits: UnpackLimits
  #available: number
  #sinceCheck = 0
  #entries = 0

  constructor(fd: number, limits: Partial<UnpackLimits> = {}) {
    this.#fd = fd
    this.#limits = { ...defaultLimits, ...limits }
    this.#available = filesystemOf(fd).available
  }

  get entries(): number {
    return this.#entries
  }

  countEntry(): void {
    if (++this.#entries > this.#limits.entries)
      throw tooLarge(`the archive has more than ${this.#limits.entries} entries`)
  }

  /** A file of this apparent size begins. */
  claim(size: number): void {
    if (size > this.#limits.fileSize) throw tooLarge(`the archive has a file of ${size} bytes`)
  }

  /** A file of this many real bytes begins. Errors: `no-space`. */
  claimReal(size: number): void {
    if (size > this.#available - this.#sinceCheck - this.#limits.reserve) this.#check(size)
  }

  wrote(bytes: number): void {
    this.#sinceCheck += bytes
    if (this.#sinceCheck > CHECK_EVERY) this.#check(0)
  }

  /** Errors: `archive-too-large` past the ratio. */
  expanded(plain: number, packed: number): void {
    if (plain > this.#limits.ratioFrom && plain > packed * this.#limits.ratio)
      throw tooLarge(`the archive unpacks to more than ${this.#limits.ratio} times its size`)
  }

  #check(wanted: number): void {
    this.#available = filesystemOf(this.#fd).available
    this.#sinceCheck = 0
    if (wanted + this.#limits.reserve > this.#available)
      throw new BerthError(
        'no-space',
        500,
        withAdvice(
          `no space left on device: unpacking needs ${wanted} bytes more, ${this.#available} are free`,
          'ENOSPC',
        ),
      )
  }
}
