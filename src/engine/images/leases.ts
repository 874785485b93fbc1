import type { Digest } from '../../oci/digest.ts'
import { neededByOperation, noSuchImage } from './imageErrors.ts'

/** Which images operations under way need, and which are being forgotten: none is ever both. */
export class Leases {
  readonly #held = new Map<Digest, number>()
  readonly #going = new Map<Digest, number>()

  /** Keeps an image from being forgotten. Errors: `no-such-image` where it is being. */
  take(id: Digest): Disposable {
    if (this.#going.has(id)) throw noSuchImage(id)
    return counted(this.#held, id)
  }

  /** From now on nobody may begin to need them. Errors: `conflict` in Docker's words where somebody does. */
  retire(ids: Iterable<Digest>): Disposable {
    const all = [...new Set(ids)]
    for (const id of all) if (this.#held.has(id)) throw neededByOperation(id)
    const going = new DisposableStack()
    for (const id of all) going.use(counted(this.#going, id))
    return going
  }
}

const counted = (counts: Map<Digest, number>, id: Digest): Disposable => {
  counts.set(id, (counts.get(id) ?? 0) + 1)
  let isOver = false
  return {
    [Symbol.dispose]: () => {
      if (isOver) return
      isOver = true
      const left = (counts.get(id) ?? 1) - 1
      if (left === 0) counts.delete(id)
      else counts.set(id, left)
    },
  }
}
