/** Runs tasks one after another in the order they came; one queue an object, so objects never wait for each other. */
export class SerialQueue {
  #tail: Promise<unknown> = Promise.resolve()
  #length = 0

  get idle(): boolean {
    return this.#length === 0
  }

  /** An abort of the signal while the task waits for its turn throws at once, and the task is passed over. */
  run<T>(task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (!signal) return this.#append(task)
    if (signal.aborted) return Promise.reject(signal.reason)
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const leave = (): void => reject(signal.reason)
    signal.addEventListener('abort', leave, { once: true })
    this.#append(() => {
      signal.throwIfAborted()
      signal.removeEventListener('abort', leave)
      return task()
    }).then(resolve, reject)
    return promise
  }

  #append<T>(task: () => Promise<T>): Promise<T> {
    this.#length++
    const result = this.#tail.then(task)
    this.#tail = result.then(
      () => this.#length--,
      () => this.#length--,
    )
    return result
  }
}

/** Lets at most `width` tasks run at once; the others wait in order. */
export class Gate {
  #width: number
  #running = 0
  readonly #waiting: (() => void)[] = []

  constructor(width: number) {
    this.#width = width
  }

  /** What runs beyond a smaller width goes on. */
  set width(width: number) {
    this.#width = width
    this.#admit()
  }

  /** An abort of the signal while the task waits for its turn throws at once. */
  async run<T>(task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (this.#running < this.#width) this.#running++
    else await this.#turn(signal)
    try {
      return await task()
    } finally {
      this.#running--
      this.#admit()
    }
  }

  #admit(): void {
    while (this.#running < this.#width) {
      const next = this.#waiting.shift()
      if (!next) return
      this.#running++
      next()
    }
  }

  #turn(signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason)
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(enter), 1)
        reject(signal?.reason)
      }
      const enter = (): void => {
        signal?.removeEventListener('abort', leave)
        resolve()
      }
      this.#waiting.push(enter)
      signal?.addEventListener('abort', leave, { once: true })
    })
  }
}

/** Many sharers or one owner; who waits for ownership goes before later sharers. */
export class SharedLock {
  #sharers = 0
  #owned = false
  readonly #waiting: { owner: boolean; go: () => void }[] = []

  #admit(): void {
    for (let next = this.#waiting[0]; next; next = this.#waiting[0]) {
      if (this.#owned || (next.owner && this.#sharers > 0)) return
      this.#waiting.shift()
      if (next.owner) this.#owned = true
      else this.#sharers++
      next.go()
    }
  }

  async #enter(owner: boolean, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const place = { owner, go: resolve }
    this.#waiting.push(place)
    const leave = (): void => {
      const index = this.#waiting.indexOf(place)
      if (index < 0) return
      this.#waiting.splice(index, 1)
      reject(signal?.reason)
      this.#admit()
    }
    signal?.addEventListener('abort', leave, { once: true })
    this.#admit()
    try {
      await promise
    } finally {
      signal?.removeEventListener('abort', leave)
    }
  }

  /** An abort of the signal leaves the place in the row. */
  async share(signal?: AbortSignal): Promise<Disposable> {
    await this.#enter(false, signal)
    return {
      [Symbol.dispose]: () => {
        this.#sharers--
        this.#admit()
      },
    }
  }

  /** An abort of the signal leaves the place in the row. */
  async own(signal?: AbortSignal): Promise<Disposable> {
    await this.#enter(true, signal)
    return {
      [Symbol.dispose]: () => {
        this.#owned = false
        this.#admit()
      },
    }
  }
}
