/** All that one build has begun: its first failure ends the rest, and it has ended when all of it has. */
export class Tasks {
  readonly #controller = new AbortController()
  readonly #begun: Promise<unknown>[] = []

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** The first reason stays. */
  abort(reason: unknown): void {
    this.#controller.abort(reason)
  }

  /**
   * Rejects with the reason of the signal alone, which for the first failure is what `failed` gives. May be left
   * unheard.
   */
  begin<T>(work: () => Promise<T>, failed: (error: unknown) => unknown): Promise<T> {
    const attempt = async (): Promise<T> => {
      try {
        this.signal.throwIfAborted()
        return await work()
      } catch (error) {
        if (!this.signal.aborted) this.abort(failed(error))
        throw this.signal.reason
      }
    }
    const begun = attempt()
    this.#begun.push(begun)
    begun.catch(() => {})
    return begun
  }

  /** What was begun may begin more. */
  async ended(): Promise<void> {
    for (let index = 0; index < this.#begun.length; index++) await this.#begun[index]?.catch(() => {})
  }
}
