import type { Dispatcher } from 'undici'

/** Bytes that may wait for their reader: more are left in the connection. */
const bound = 128 * 1024

/**
 * The bytes of an answer, in order. What came before a cut is given before the cut is told: none of it is fetched twice.
 * One reader only.
 */
export class Body implements AsyncIterable<Buffer> {
  readonly #controller: Dispatcher.DispatchController
  readonly #asError: (error: unknown) => Error
  #queue: Buffer[] = []
  #waiting = 0
  #end: { error?: Error } | undefined
  #wake: () => void = () => {}

  constructor(controller: Dispatcher.DispatchController, asError: (error: unknown) => Error) {
    this.#controller = controller
    this.#asError = asError
  }

  push(chunk: Buffer): void {
    this.#queue.push(chunk)
    this.#waiting += chunk.length
    if (this.#waiting >= bound) this.#controller.pause()
    this.#wake()
  }

  finish(error?: unknown): void {
    this.#end ??= error === undefined ? {} : { error: this.#asError(error) }
    this.#wake()
  }

  /** Leaves what has not come yet, and the connection with it. */
  cancel(): void {
    if (!this.#end) this.#controller.abort(new Error('the rest is not wanted'))
    this.#queue = []
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    try {
      for (;;) {
        const chunk = this.#queue.shift()
        if (chunk) {
          this.#waiting -= chunk.length
          if (this.#controller.paused && this.#waiting < bound / 2) this.#controller.resume()
          yield chunk
        } else if (this.#end) {
          if (this.#end.error) throw this.#end.error
          return
        } else await new Promise<void>(resolve => (this.#wake = resolve))
      }
    } finally {
      this.cancel()
    }
  }

  /** All of it, at most `limit` bytes; undefined where it is longer. */
  async read(limit: number): Promise<Buffer | undefined> {
    const chunks: Buffer[] = []
    let size = 0
    for await (const chunk of this) {
      size += chunk.length
      if (size > limit) return undefined
      chunks.push(chunk)
    }
    return Buffer.concat(chunks)
  }

  /** Lets a short rest come, so that the connection can be used again. */
  async discard(): Promise<void> {
    await this.read(bound).catch(() => {})
  }
}
