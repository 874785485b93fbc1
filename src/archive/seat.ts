import { Worker } from 'node:worker_threads'
import { internal, messageOf } from '../core/errors.ts'
import type { FromWorker, ToWorker } from './tasks.ts'

/** Who hears of one task. */
export interface Listener {
  hear(message: FromWorker): void
  fail(error: Error): void
}

/** What an archive's entries leave is garbage at once: more room for it only makes each worker larger. */
const youngMiB = 4

/** One worker and who listens to its tasks. */
export class Seat {
  readonly #worker: Worker
  readonly #listeners = new Map<number, Listener>()
  readonly #idleMs: number
  readonly #onEnd: (seat: Seat) => void
  #isTaken = false
  #idle: NodeJS.Timeout | undefined

  constructor(idleMs: number, onEnd: (seat: Seat) => void) {
    this.#idleMs = idleMs
    this.#onEnd = onEnd
    this.#worker = new Worker(new URL('./archive.worker.ts', import.meta.url), {
      execArgv: [],
      resourceLimits: { maxYoungGenerationSizeMb: youngMiB },
    })
    this.#worker.unref()
    this.#worker.on('message', (message: FromWorker) => this.#listeners.get(message.id)?.hear(message))
    this.#worker.on('error', error => this.#lost(error))
    this.#worker.on('exit', code => this.#lost(new Error(`the worker ended with ${code}`)))
  }

  get load(): number {
    return this.#listeners.size
  }

  /** Its one task wants no other beside it. */
  get isTaken(): boolean {
    return this.#isTaken
  }

  send(message: ToWorker, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer)
  }

  listen(id: number, listener: Listener, { alone }: { alone: boolean }): Disposable {
    this.#isTaken = alone
    this.#listeners.set(id, listener)
    clearTimeout(this.#idle)
    this.#worker.ref()
    return {
      [Symbol.dispose]: () => {
        this.#listeners.delete(id)
        this.#isTaken = false
        if (this.#listeners.size === 0) this.#rest()
      },
    }
  }

  async end(): Promise<void> {
    clearTimeout(this.#idle)
    await this.#worker.terminate()
  }

  /** Without work: keeps nothing alive, and ends after a while to give its memory back. */
  #rest(): void {
    this.#worker.unref()
    this.#idle = setTimeout(() => {
      this.#onEnd(this)
      void this.end()
    }, this.#idleMs)
    this.#idle.unref()
  }

  #lost(error: unknown): void {
    this.#onEnd(this)
    for (const listener of this.#listeners.values())
      listener.fail(internal(`a worker for archives was lost: ${messageOf(error)}`, error))
  }
}
