import { Arrival } from '../archive/arrival.ts'
import type { LayerResult } from '../archive/layer.ts'
import { hasCode } from '../core/errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { ArrivingLayer } from './types.ts'

/** Smaller ones are unpacked as fast when they are there, and most small files are no layers. */
const WORTH_BYTES = 4 << 20

/** A layer that is unpacked but not yet recorded. */
export interface Fresh {
  home: string
  result: LayerResult
}

interface Following {
  /** Unpacks the file as it grows; what it made so far is its to remove where it fails. */
  unpack: (path: string, arrival: Arrival, onProgress: (bytes: number) => void) => Promise<Fresh>
  /** Gets what nobody took. */
  discard: (fresh: Fresh) => void
}

/** One blob that is unpacked while it comes in, for `LayerStore.ensure` to take. */
export class Arriving implements ArrivingLayer {
  readonly #arrival = new Arrival()
  readonly #following: Following
  #unpacking: Promise<Fresh> | undefined
  #taken = false
  #bytes = 0
  #onProgress: (bytes: number) => void = () => {}

  constructor(following: Following) {
    this.#following = following
  }

  grown(path: string, bytes: number): void {
    this.#arrival.grown(bytes)
    if (this.#unpacking || bytes < WORTH_BYTES) return
    this.#unpacking = this.#following.unpack(path, this.#arrival, read => {
      this.#bytes = read
      this.#onProgress(read)
    })
    // Whoever takes it hears of a failure; one that nobody takes is nobody's.
    this.#unpacking.catch(() => {})
  }

  whole(digest: Digest): void {
    this.#arrival.whole(digest)
  }

  /**
   * What it was unpacked to: undefined for a small one, and where the worker
   * came so late that the file had its final name already. Errors: those of
   * unpacking.
   */
  async take(onProgress: (bytes: number) => void): Promise<Fresh | undefined> {
    if (!this.#unpacking || this.#taken) return undefined
    this.#taken = true
    onProgress(this.#bytes)
    this.#onProgress = onProgress
    try {
      return await this.#unpacking
    } catch (error) {
      if (hasCode(error, 'not-found')) return undefined
      throw error
    }
  }

  [Symbol.dispose](): void {
    this.#arrival.abandon()
    if (this.#taken) return
    this.#taken = true
    this.#unpacking?.then(this.#following.discard, () => {})
  }
}
