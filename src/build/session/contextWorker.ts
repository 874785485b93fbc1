import { Worker } from 'node:worker_threads'
import { BerthError, internal } from '../../core/errors.ts'
import { discarded } from '../../core/garbage.ts'
import {
  type ContextTask,
  type FromContextWorker,
  pieceSize,
  type Received,
  type ToContextWorker,
  window,
} from './contextTask.ts'

/**
 * One worker that does all syncs: they take bytes as quickly as one core writes
 * them. Started with the first, ended when it has been idle.
 */

const idleMilliseconds = 60_000

/** Bytes after which its memory is worth more than the moment that a new one takes to start. */
const mostPassed = 64 * 1024 * 1024

/** What a packet leaves is garbage at once: more room for it only makes the worker larger. */
const youngMiB = 4

interface Listener {
  hear(message: FromContextWorker): void
  lost(error: Error): void
}

/** One sync, as its session sees it. */
export interface ContextWork {
  /** Framed bytes of the client; settles when more may come. */
  push(bytes: Uint8Array): Promise<void>
  /** Settles with what is there. Errors: those of the receiver. */
  end(): Promise<Received>
  /** Rejects when the work fails before its end. */
  readonly failed: Promise<never>
  /** Settles when nothing of it is under way any more. */
  leave(): Promise<void>
}

export class ContextWorker implements AsyncDisposable {
  #worker: Worker | undefined
  readonly #listeners = new Map<number, Listener>()
  #ids = 0
  #passed = 0
  #idle: NodeJS.Timeout | undefined

  /** Begins a sync; `answer` gets framed bytes for the client. */
  start(task: ContextTask, answer: (bytes: Uint8Array) => void): ContextWork {
    const id = ++this.#ids
    const worker = this.#hired()
    const post = (message: ToContextWorker): void => {
      if (message.kind !== 'bytes') worker.postMessage(message)
      else {
        this.#passed += message.bytes.length
        worker.postMessage(message, [message.bytes.buffer as ArrayBuffer])
      }
    }
    const work = new Work({
      answer,
      post,
      id,
      over: () => this.#drop(id),
    })
    this.#listeners.set(id, work)
    worker.postMessage({ id, kind: 'start', task } satisfies ToContextWorker)
    return work
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#idle)
    await this.#worker?.terminate()
  }

  #hired(): Worker {
    clearTimeout(this.#idle)
    if (this.#worker) {
      this.#worker.ref()
      return this.#worker
    }
    const worker = new Worker(new URL('./context.worker.ts', import.meta.url), {
      resourceLimits: { maxYoungGenerationSizeMb: youngMiB },
    })
    worker.on('message', (message: FromContextWorker) => this.#listeners.get(message.id)?.hear(message))
    worker.on('error', error =>
      this.#lose(worker, internal(`the worker for build contexts failed: ${error}`, error)),
    )
    worker.on('exit', () => this.#lose(worker, internal('the worker for build contexts ended')))
    this.#worker = worker
    this.#passed = 0
    return worker
  }

  #lose(worker: Worker, error: Error): void {
    if (this.#worker !== worker) return
    this.#worker = undefined
    for (const listener of this.#listeners.values()) listener.lost(error)
  }

  #drop(id: number): void {
    this.#listeners.delete(id)
    if (this.#listeners.size > 0 || !this.#worker) return
    this.#worker.unref()
    if (this.#passed > mostPassed) this.#dismiss()
    else this.#idle = setTimeout(() => this.#dismiss(), idleMilliseconds).unref()
  }

  #dismiss(): void {
    void this.#worker?.terminate()
    this.#worker = undefined
  }
}

class Work implements ContextWork, Listener {
  readonly #id: number
  readonly #post: (message: ToContextWorker) => void
  readonly #answer: (bytes: Uint8Array) => void
  readonly #over: () => void
  readonly #done = Promise.withResolvers<Received>()
  readonly #left = Promise.withResolvers<void>()
  readonly failed: Promise<never>
  #pieces: Uint8Array[] = []
  #held = 0
  #free = window
  #wake = (): void => {}
  #isOver = false

  constructor(options: {
    id: number
    post: (message: ToContextWorker) => void
    answer: (bytes: Uint8Array) => void
    over: () => void
  }) {
    this.#id = options.id
    this.#post = options.post
    this.#answer = options.answer
    this.#over = options.over
    this.failed = this.#done.promise.then(() => new Promise<never>(() => {}))
    this.failed.catch(() => {})
  }

  hear(message: FromContextWorker): void {
    if (message.kind === 'bytes') this.#answer(message.bytes)
    else if (message.kind === 'done') this.#done.resolve(message.received)
    else if (message.kind === 'failed') {
      const { code, status, message: text } = message.error
      this.#fail(new BerthError(code, status, text))
    } else if (message.kind === 'left') this.#left.resolve()
    else this.#taken()
  }

  lost(error: Error): void {
    this.#fail(error)
    this.#left.resolve()
  }

  #fail(error: Error): void {
    this.#isOver = true
    this.#done.reject(error)
    this.#wake()
  }

  async push(bytes: Uint8Array): Promise<void> {
    this.#pieces.push(bytes)
    this.#held += bytes.length
    // While the worker has nothing to do it gets what there is.
    if (this.#free === window || this.#held >= pieceSize) this.#flush()
    // Once it has failed, nothing is taken any more; who pushes hears of that by `failed`.
    while (this.#free <= 0 && !this.#isOver) await new Promise<void>(resolve => (this.#wake = resolve))
  }

  end(): Promise<Received> {
    this.#flush()
    this.#post({ id: this.#id, kind: 'end' })
    return this.#done.promise
  }

  async leave(): Promise<void> {
    this.#post({ id: this.#id, kind: 'leave' })
    await this.#left.promise
    this.#over()
  }

  #taken(): void {
    this.#free++
    if (this.#free === window) this.#flush()
    this.#wake()
  }

  #flush(): void {
    if (this.#held === 0) return
    // Of a size of its own, since it goes to the worker whole.
    const bytes = new Uint8Array(this.#held)
    let at = 0
    for (const piece of this.#pieces) {
      bytes.set(piece, at)
      at += piece.length
    }
    discarded(at)
    this.#pieces = []
    this.#held = 0
    this.#free--
    this.#post({ id: this.#id, kind: 'bytes', bytes })
  }
}
