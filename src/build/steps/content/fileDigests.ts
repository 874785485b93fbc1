import type { Digest } from '../../../oci/digest.ts'

/** Digests of files by what makes them the same, those of last use first to stay. */
export class FileDigests {
  readonly #most: number
  readonly #known = new Map<string, Digest>()

  constructor(most = 100_000) {
    this.#most = most
  }

  get size(): number {
    return this.#known.size
  }

  get(identity: string): Digest | undefined {
    const digest = this.#known.get(identity)
    if (digest === undefined) return undefined
    this.#known.delete(identity)
    this.#known.set(identity, digest)
    return digest
  }

  set(identity: string, digest: Digest): void {
    this.#known.delete(identity)
    this.#known.set(identity, digest)
    const [oldest] = this.#known.keys()
    if (this.#known.size > this.#most && oldest !== undefined) this.#known.delete(oldest)
  }
}
