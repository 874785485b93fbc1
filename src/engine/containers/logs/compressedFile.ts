import type { FileHandle } from 'node:fs/promises'
import { pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { nowText } from '../../../core/clock.ts'
import { messageOf } from '../../../core/errors.ts'

/** What is read of an open file of the log. */
export interface LogHandle extends AsyncDisposable {
  /** Less than `length` only at the end. */
  read(buffer: Buffer, offset: number, length: number, position: number): Promise<{ bytesRead: number }>
  stat(): Promise<{ ino: number; size: number }>
  close(): Promise<void>
}

/** What a compressed file tells of the one that it was made of. */
export interface Original {
  inode: number
  /** Bytes. */
  size: number
  lines: number
}

/**
 * A gzip member without content, in front of that with the text: `zcat` passes over it, and what
 * it carries for us is known without reading the text.
 */
const opening = Buffer.from([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 28, 0, 0x42, 0x4c, 24, 0])
const ending = Buffer.from([3, 0, 0, 0, 0, 0, 0, 0, 0, 0])
const numbers = 24
export const headerSize = opening.length + numbers + ending.length

export const headerOf = ({ inode, size, lines }: Original): Buffer => {
  const bytes = Buffer.alloc(numbers)
  for (const [index, value] of [inode, size, lines].entries())
    bytes.writeBigUInt64LE(BigInt(value), index * 8)
  return Buffer.concat([opening, bytes, ending])
}

/** Undefined where somebody else has compressed the file. */
const readHeader = async (file: FileHandle): Promise<Original | undefined> => {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(headerSize), 0, headerSize, 0)
  if (bytesRead < headerSize || !buffer.subarray(0, opening.length).equals(opening)) return undefined
  const [inode = 0, size = 0, lines = 0] = [0, 8, 16].map(at =>
    Number(buffer.readBigUInt64LE(opening.length + at)),
  )
  return { inode, size, lines }
}

/** Stands where the rest of a damaged file would. */
const damaged = (error: unknown): Buffer => {
  const log = `[berth] the rest of a compressed file of this log cannot be read: ${messageOf(error)}\n`
  return Buffer.from(`\n${JSON.stringify({ log, stream: 'stderr', time: nowText() })}\n`)
}

export const newline = 0x0a
const chunkSize = 64 * 1024

/** A file from its beginning. A stream of Node's own would close it in the end. */
export async function* bytesOf(file: FileHandle): AsyncGenerator<Buffer> {
  for (let at = 0; ; ) {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(chunkSize), 0, chunkSize, at)
    if (bytesRead === 0) return
    yield buffer.subarray(0, bytesRead)
    at += bytesRead
  }
}

/**
 * A rotated file that was compressed; positions, size and inode are those of its text. It is read
 * forwards, in the thread pool and with little memory; to go back is to begin anew.
 */
export class CompressedFile implements LogHandle {
  readonly #file: FileHandle
  readonly #original: Original
  #chunks: AsyncIterator<Buffer> | undefined
  #chunk: Buffer = Buffer.alloc(0)
  /** Where the chunk begins. */
  #at = 0

  private constructor(file: FileHandle, original: Original) {
    this.#file = file
    this.#original = original
  }

  /** Takes over the open file. */
  static async of(file: FileHandle): Promise<CompressedFile> {
    try {
      const original = await readHeader(file)
      return new CompressedFile(file, original ?? { inode: (await file.stat()).ino, size: 0, lines: 0 })
    } catch (error) {
      await file.close()
      throw error
    }
  }

  async *#text(): AsyncGenerator<Buffer> {
    const text = pipeline(bytesOf(this.#file), createGunzip({ chunkSize }), () => {})
    try {
      for await (const chunk of text) yield chunk as Buffer
    } catch (error) {
      yield damaged(error)
    }
  }

  async #rewind(): Promise<void> {
    await this.#chunks?.return?.()
    this.#chunks = this.#text()
    this.#chunk = Buffer.alloc(0)
    this.#at = 0
  }

  /** The bytes from a position on that are at hand; empty at the end. */
  async #from(position: number): Promise<Buffer> {
    if (!this.#chunks || position < this.#at) await this.#rewind()
    for (;;) {
      const skipped = position - this.#at
      if (skipped < this.#chunk.length) return this.#chunk.subarray(skipped)
      const next = await this.#chunks?.next()
      if (!next || next.done) return Buffer.alloc(0)
      this.#at += this.#chunk.length
      this.#chunk = next.value
    }
  }

  async read(buffer: Buffer, offset: number, length: number, position: number) {
    let bytesRead = 0
    while (bytesRead < length) {
      const bytes = await this.#from(position + bytesRead)
      if (bytes.length === 0) break
      bytesRead += bytes.copy(buffer, offset + bytesRead, 0, length - bytesRead)
    }
    return { bytesRead }
  }

  /** Where the last `count` lines begin, and how many there are from there. */
  async tailOffset(count: number): Promise<{ offset: number; lines: number }> {
    const { lines, size } = this.#original
    if (count === 0) return { offset: size, lines: 0 }
    return { offset: lines > count ? await this.#offsetOf(lines - count) : 0, lines: Math.min(lines, count) }
  }

  /** Where the line begins that so many precede. */
  async #offsetOf(line: number): Promise<number> {
    let left = line
    let before = 0
    for await (const chunk of this.#text()) {
      for (let at = chunk.indexOf(newline); at >= 0; at = chunk.indexOf(newline, at + 1))
        if (--left === 0) return before + at + 1
      before += chunk.length
    }
    return before
  }

  async stat(): Promise<{ ino: number; size: number }> {
    const { inode, size } = this.#original
    return { ino: inode, size }
  }

  async close(): Promise<void> {
    await this.#chunks?.return?.()
    await this.#file.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
