import { createHash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { untilAborted } from '../core/abort.ts'
import { BerthError } from '../core/errors.ts'
import { discarded } from '../core/garbage.ts'
import { startWriting } from '../linux/files.ts'
import type { Digest } from '../oci/digest.ts'
import { writeVector } from './durable.ts'
import type { BlobFollower, BlobInfo } from './types.ts'

/** Bytes on their way into a file, hashed as they come. */

export const wrongDigest = (expected: Digest, found: Digest): Error =>
  new BerthError('digest-mismatch', 400, `the content has the digest ${found}, expected was ${expected}`)

export const wrongSize = (expected: number, found: number | string): Error =>
  new BerthError('size-mismatch', 400, `the content has ${found} bytes, expected were ${expected}`)

/** What ended a write, where it was the signal. */
export const cancelled = (signal: AbortSignal | undefined, error: unknown): unknown =>
  signal?.aborted && !(error instanceof BerthError)
    ? new BerthError('cancelled', 499, 'the write was cancelled', { cause: error })
    : error

const batchBytes = 1 << 20
/** As much is handed to the disk at a time while more is to come. */
const writebackBytes = 8 << 20
/** A chunk may be a small piece of a large buffer that it keeps alive. */
const batchChunks = 64
const readBytes = 1 << 20

export interface TakeOptions {
  /** Reading stops as soon as more comes: `size-mismatch`. */
  limit?: number
  signal?: AbortSignal
  follower?: BlobFollower
}

export class Intake implements AsyncDisposable {
  readonly #path: string
  readonly #file: FileHandle
  readonly #hash = createHash('sha256')
  #size = 0
  #batch: Uint8Array[] = []
  #held = 0
  #writing: Promise<void> = Promise.resolve()
  #written = 0
  #begun = 0
  #handing: Promise<void> | undefined

  private constructor(path: string, file: FileHandle) {
    this.#path = path
    this.#file = file
  }

  /** Into a new file. */
  static async create(path: string): Promise<Intake> {
    return new Intake(path, await open(path, 'wx', 0o600))
  }

  /** Into one that may be there; what it holds is read, and counts. One that is longer than `limit` starts from nothing. */
  static async resume(path: string, limit: number): Promise<Intake> {
    const intake = new Intake(path, await open(path, 'a+', 0o600))
    try {
      await intake.#readBack(limit)
      return intake
    } catch (error) {
      await intake.#file.close()
      throw error
    }
  }

  /** Bytes taken so far, those of before included. */
  get size(): number {
    return this.#size
  }

  /** Copies a source into the file. A batch is written while the next is hashed; where the source fails, what it gave is written all the same. */
  async take(source: AsyncIterable<Uint8Array>, { limit, signal, follower }: TakeOptions): Promise<void> {
    try {
      for await (const chunk of signal ? untilAborted(signal, source) : source) {
        if (limit !== undefined && this.#size + chunk.length > limit) throw wrongSize(limit, 'more')
        this.#size += chunk.length
        this.#hash.update(chunk)
        this.#held += chunk.length
        if (this.#batch.push(chunk) >= batchChunks || this.#held >= batchBytes) await this.#flush(follower)
      }
    } finally {
      await this.#flush(follower)
      await this.#writing
    }
    follower?.grown(this.#path, this.#size)
  }

  /** Of all bytes; to be asked once. */
  info(): BlobInfo {
    return { digest: `sha256:${this.#hash.digest('hex')}`, size: this.#size }
  }

  sync(): Promise<void> {
    return this.#file.sync()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Whatever happened, the file is not closed under it.
    await this.#writing.catch(() => {})
    await this.#handing
    await this.#file.close()
  }

  async #readBack(limit: number): Promise<void> {
    const { size } = await this.#file.stat()
    if (size > limit) return await this.#file.truncate(0)
    const chunk = Buffer.allocUnsafe(readBytes)
    for (;;) {
      const { bytesRead } = await this.#file.read(chunk, 0, chunk.length, this.#size)
      if (bytesRead === 0) break
      this.#hash.update(chunk.subarray(0, bytesRead))
      this.#size += bytesRead
    }
    this.#written = this.#size
    this.#begun = this.#size
  }

  async #flush(follower: BlobFollower | undefined): Promise<void> {
    await this.#writing
    discarded(this.#held)
    follower?.grown(this.#path, this.#written)
    this.#handOver()
    this.#written += this.#held
    this.#writing = writeVector(this.#file, this.#batch)
    // It is awaited by the next flush; until then its failure is nobody's.
    this.#writing.catch(() => {})
    this.#batch = []
    this.#held = 0
  }

  /** One at a time, and nobody waits for it but the end: where the disk is busy it takes long. */
  #handOver(): void {
    if (this.#handing || this.#written - this.#begun < writebackBytes) return
    this.#handing = startWriting(this.#file.fd, this.#begun, this.#written - this.#begun).finally(() => {
      this.#handing = undefined
    })
    this.#begun = this.#written
  }
}
