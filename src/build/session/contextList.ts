import { createHash, type Hash } from 'node:crypto'
import { HEAD } from './grpcFrames.ts'

/**
 * A client lists its folder before anything else is said: where the list is to the byte what it was the last time, so
 * is the folder. Lists are compared by blocks, so that one that differs is known early, and nothing of it is kept.
 */
export interface ListDigest {
  /** Bytes, with the frames around messages. */
  size: number
  /** SHA-256 of each block. */
  blocks: readonly string[]
}

const blockSize = 64 * 1024

/** Of a list, as its bytes come. */
export class ListDigester {
  #hash: Hash | undefined
  #inBlock = 0
  size = 0
  readonly blocks: string[] = []

  push(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + blockSize - this.#inBlock)
      this.#hash ??= createHash('sha256')
      this.#hash.update(part)
      at += part.length
      this.#inBlock += part.length
      this.size += part.length
      if (this.#inBlock === blockSize) this.#close()
    }
  }

  #close(): void {
    if (this.#hash) this.blocks.push(this.#hash.digest('hex'))
    this.#hash = undefined
    this.#inBlock = 0
  }

  end(): ListDigest {
    this.#close()
    return { size: this.size, blocks: this.blocks }
  }
}

/** Compares a list that comes with a known one. */
export class ListComparison {
  readonly #known: ListDigest
  readonly #digester = new ListDigester()
  /** All that has come. */
  readonly held: Uint8Array[] = []
  #head: number[] = []
  /** Bytes of the message that is under way. */
  #left = 0

  constructor(known: ListDigest) {
    this.#known = known
  }

  /** Undefined while it may be either. What follows a list that is the same is `rest`. */
  take(bytes: Uint8Array): { isSame: boolean; rest: Uint8Array } | undefined {
    this.held.push(bytes)
    const end = this.#endIn(bytes)
    this.#digester.push(end === undefined ? bytes : bytes.subarray(0, end))
    if (end !== undefined) {
      const { size, blocks } = this.#digester.end()
      const isSame =
        size === this.#known.size && blocks.every((block, at) => block === this.#known.blocks[at])
      return { isSame, rest: bytes.subarray(end) }
    }
    const { size, blocks } = this.#digester
    const at = blocks.length - 1
    const isOther = size >= this.#known.size || blocks[at] !== (at < 0 ? undefined : this.#known.blocks[at])
    return isOther ? { isSame: false, rest: new Uint8Array() } : undefined
  }

  /** A list ends with an empty message: where that has come, in this piece. */
  #endIn(bytes: Uint8Array): number | undefined {
    for (let at = 0; at < bytes.length; ) {
      if (this.#left > 0) {
        const part = Math.min(this.#left, bytes.length - at)
        this.#left -= part
        at += part
        continue
      }
      this.#head.push(bytes[at++] ?? 0)
      if (this.#head.length < HEAD) continue
      this.#left = Buffer.from(this.#head).readUInt32BE(1)
      this.#head = []
      if (this.#left === 0) return at
    }
    return undefined
  }
}
