/** Things by the beginnings of their ids, which are spread evenly (hexadecimal digests): a search looks at few of them. */
export class PrefixIndex<T extends { readonly id: string }> {
  readonly #buckets = new Map<string, Set<T>>()

  add(thing: T): void {
    const key = thing.id.slice(0, bucketLength)
    const bucket = this.#buckets.get(key)
    if (bucket) bucket.add(thing)
    else this.#buckets.set(key, new Set([thing]))
  }

  delete(thing: T): void {
    const key = thing.id.slice(0, bucketLength)
    const bucket = this.#buckets.get(key)
    bucket?.delete(thing)
    if (bucket?.size === 0) this.#buckets.delete(key)
  }

  /** All whose id begins so. */
  find(prefix: string): T[] {
    const bucket = this.#buckets.get(prefix.slice(0, bucketLength))
    if (prefix.length >= bucketLength) return [...(bucket ?? [])].filter(({ id }) => id.startsWith(prefix))
    return [...this.#buckets].flatMap(([key, things]) => (key.startsWith(prefix) ? [...things] : []))
  }
}

/** Digits: 16 million buckets, so that as a rule each holds one. */
const bucketLength = 6
