import { BerthError } from '../../core/errors.ts'

/** gRPC's framing: each message behind a byte that tells of compression, and its length. */

/** Bytes before each message. */
export const HEAD = 5

/** As containerd's clients take at most. Bytes. */
export const messageLimit = 16 * 1024 * 1024

export const frameHead = (length: number): Buffer => {
  const head = Buffer.alloc(HEAD)
  head.writeUInt32BE(length, 1)
  return head
}

export const frame = (message: Uint8Array): Buffer => Buffer.concat([frameHead(message.length), message])

const refused = (why: string): Error => new BerthError('bad-message', 400, `the client's message ${why}`)

/** Cuts bytes as they come into messages. What it gives may share memory with what it was given. */
export class FrameSplitter {
  #pieces: Uint8Array[] = []
  #held = 0
  readonly #limit: number

  constructor(limit = messageLimit) {
    this.#limit = limit
  }

  /** True where no message has begun. */
  get isAtRest(): boolean {
    return this.#held === 0
  }

  /** Errors: `bad-message`, for one that is compressed or larger than the limit. */
  *push(bytes: Uint8Array): Generator<Uint8Array> {
    this.#pieces.push(bytes)
    this.#held += bytes.length
    for (;;) {
      if (this.#held < HEAD) return
      const length = this.#lengthOfNext()
      if (this.#held < HEAD + length) return
      const all = this.#joined()
      yield all.subarray(HEAD, HEAD + length)
      const rest = all.subarray(HEAD + length)
      this.#pieces = rest.length > 0 ? [rest] : []
      this.#held = rest.length
    }
  }

  #joined(): Uint8Array {
    const [only] = this.#pieces
    if (only && this.#pieces.length === 1) return only
    const all = Buffer.concat(this.#pieces)
    this.#pieces = [all]
    return all
  }

  #lengthOfNext(): number {
    const first = this.#pieces[0]
    const head = first && first.length >= HEAD ? first : this.#joined()
    const length = new DataView(head.buffer, head.byteOffset, HEAD).getUint32(1)
    if (head[0] !== 0) throw refused('is compressed, which was not asked for')
    if (length > this.#limit) throw refused(`has ${length} bytes, at most ${this.#limit} are taken`)
    return length
  }
}
