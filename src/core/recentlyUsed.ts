/** Values by keys; of more than `most` those that were used last stay. */
export class RecentlyUsed<Value extends {}> {
  readonly #most: number
  readonly #known = new Map<string, Value>()

  constructor(most: number) {
    this.#most = most
  }

  get size(): number {
    return this.#known.size
  }

  get(key: string): Value | undefined {
    const value = this.#known.get(key)
    if (value === undefined) return undefined
    this.#known.delete(key)
    this.#known.set(key, value)
    return value
  }

  set(key: string, value: Value): void {
    this.#known.delete(key)
    this.#known.set(key, value)
    const [oldest] = this.#known.keys()
    if (this.#known.size > this.#most && oldest !== undefined) this.#known.delete(oldest)
  }
}
