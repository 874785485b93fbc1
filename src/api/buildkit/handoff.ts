/**
 * Items on their way from several writers to one reader, none of which gets ahead of it: `send` settles when the
 * reader has done with the item, or will never ask for it.
 */
export class Handoff<T> implements AsyncIterable<T> {
  #waiting: { item: T; done: () => void }[] = []
  #end: { error?: unknown } | undefined
  #wake = (): void => {}

  send(item: T): Promise<void> {
    if (this.#end) return Promise.resolve()
    return new Promise(done => {
      this.#waiting.push({ item, done })
      this.#wake()
    })
  }

  /** What waits is still read; nothing more is taken. */
  close(): void {
    this.#end ??= {}
    this.#wake()
  }

  /** The reader gets an error next. */
  fail(error: unknown): void {
    this.#end ??= { error }
    this.#drop()
    this.#wake()
  }

  #drop(): void {
    for (const { done } of this.#waiting.splice(0)) done()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    let taken: (() => void) | undefined
    try {
      for (;;) {
        const next = this.#waiting.shift()
        if (next) {
          taken = next.done
          yield next.item
          taken()
        } else if (this.#end) {
          if ('error' in this.#end) throw this.#end.error
          return
        } else await new Promise<void>(resolve => (this.#wake = resolve))
      }
    } finally {
      // A reader that leaves is no reason to wait for.
      this.#end ??= {}
      taken?.()
      this.#drop()
    }
  }
}
