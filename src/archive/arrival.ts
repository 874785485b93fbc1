import { open } from 'node:fs/promises'
import { BerthError } from '../core/errors.ts'
import { type Digest, digestHex } from '../oci/digest.ts'

/**
 * A file that is still being written, read by a worker as it grows. Both
 * threads share one word (the bytes that are there, and what is to come) and
 * the digest, which is there when the file is whole. Nobody polls.
 */

const STATES = 4n
const GROWING = 0n
const WHOLE = 1n
const ABANDONED = 2n
const DIGEST_BYTES = 32
const READ_BYTES = 1 << 18

interface Views {
  word: BigInt64Array<SharedArrayBuffer>
  digest: Uint8Array<SharedArrayBuffer>
}

const viewsOf = (shared: SharedArrayBuffer): Views => ({
  word: new BigInt64Array(shared, 0, 1),
  digest: new Uint8Array(shared, 8, DIGEST_BYTES),
})

const abandoned = (): Error => new BerthError('cancelled', 499, 'the file that was followed is given up')

/** The writer's side. */
export class Arrival {
  readonly shared = new SharedArrayBuffer(8 + DIGEST_BYTES)
  readonly #views = viewsOf(this.shared)
  #bytes = 0

  grown(bytes: number): void {
    this.#bytes = bytes
    this.#tell(GROWING)
  }

  whole(digest: Digest): void {
    this.#views.digest.set(Buffer.from(digestHex(digest), 'hex'))
    this.#tell(WHOLE)
  }

  /** The reader fails with `cancelled`, unless it has all already. */
  abandon(): void {
    this.#tell(ABANDONED)
  }

  #tell(state: bigint): void {
    Atomics.store(this.#views.word, 0, BigInt(this.#bytes) * STATES + state)
    Atomics.notify(this.#views.word, 0)
  }
}

/** The digest that the writer computed; to be asked when the file was read to its end. */
export const arrivedDigest = (shared: SharedArrayBuffer): Digest =>
  `sha256:${Buffer.from(viewsOf(shared).digest).toString('hex')}`

/** The file's bytes up to its end, each as soon as it is there. Errors: `cancelled` where the writer gave up. */
export async function* followFile(path: string, shared: SharedArrayBuffer): AsyncGenerator<Buffer> {
  const { word } = viewsOf(shared)
  await using file = await open(path)
  for (let at = 0; ; ) {
    const seen = Atomics.load(word, 0)
    if (seen % STATES === ABANDONED) throw abandoned()
    const there = Number(seen / STATES)
    if (at === there && seen % STATES === WHOLE) return
    if (at === there) {
      await Atomics.waitAsync(word, 0, seen).value
      continue
    }
    const chunk = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, there - at))
    const { bytesRead } = await file.read(chunk, 0, chunk.length, at)
    if (bytesRead === 0) throw abandoned()
    at += bytesRead
    yield chunk.subarray(0, bytesRead)
  }
}
