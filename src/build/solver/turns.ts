/**
 * Lets so many steps run at once, and those that wait by turns of their builds: a build with a
 * hundred steps holds up no other for longer than one of them.
 */
export class Turns {
  readonly #width: number
  #running = 0
  /** Builds with steps that wait, the one whose turn is next first. */
  readonly #rows = new Map<string, (() => void)[]>()

  constructor(width: number) {
    this.#width = width
  }

  get idle(): boolean {
    return this.#running === 0 && this.#rows.size === 0
  }

  /** An abort while it waits leaves the row. */
  async enter(build: string, signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted()
    if (this.#running < this.#width) this.#running++
    else await this.#wait(build, signal)
    return {
      [Symbol.dispose]: () => {
        this.#running--
        this.#admit()
      },
    }
  }

  #wait(build: string, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const go = (): void => {
      signal.removeEventListener('abort', leave)
      resolve()
    }
    const leave = (): void => {
      const row = (this.#rows.get(build) ?? []).filter(other => other !== go)
      if (row.length > 0) this.#rows.set(build, row)
      else this.#rows.delete(build)
      reject(signal.reason)
    }
    signal.addEventListener('abort', leave, { once: true })
    const row = this.#rows.get(build)
    if (row) row.push(go)
    else this.#rows.set(build, [go])
    return promise
  }

  #admit(): void {
    while (this.#running < this.#width) {
      const [next] = this.#rows
      if (!next) return
      const [build, row] = next
      const go = row.shift()
      // Behind the others, whatever it still has.
      this.#rows.delete(build)
      if (row.length > 0) this.#rows.set(build, row)
      if (!go) continue
      this.#running++
      go()
    }
  }
}
