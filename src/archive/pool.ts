import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { withAdvice } from '../core/advice.ts'
import { BerthError, internal, messageOf } from '../core/errors.ts'
import { Gate } from '../core/queue.ts'
import {
  CHUNK,
  type ErrorRecord,
  type FromWorker,
  type TaskName,
  type Tasks,
  type ToWorker,
  WINDOW,
} from './tasks.ts'

/**
 * The workers that parse, hash, decompress and make files. Started when first
 * needed, one a core; idle ones do not keep the process alive.
 */

export interface TaskOptions {
  signal?: AbortSignal
  onProgress?: (bytes: number) => void
  /** Bytes that the task takes; read at the worker's pace. */
  input?: AsyncIterable<Uint8Array>
}

interface Listener {
  hear(message: FromWorker): void
  fail(error: Error): void
}

const errorFrom = (record: ErrorRecord): BerthError => {
  const text =
    record.errno && !record.message.includes(record.errno)
      ? `${record.message}: ${record.errno}`
      : record.message
  if (record.errno === 'ENOENT') return new BerthError('not-found', 404, text, { cause: record.errno })
  if (record.errno === 'ENOSPC') return new BerthError('no-space', 500, withAdvice(text, 'ENOSPC'))
  return new BerthError(
    record.code,
    record.status,
    withAdvice(text, record.errno ?? ''),
    record.errno ? { cause: record.errno } : {},
  )
}

/** One worker and who listens to its tasks. */
class Seat {
  readonly #worker: Worker
  readonly #listeners = new Map<number, Listener>()
  readonly #idleMs: number
  readonly #onEnd: (seat: Seat) => void
  #idle: NodeJS.Timeout | undefined

  constructor(idleMs: number, onEnd: (seat: Seat) => void) {
    this.#idleMs = idleMs
    this.#onEnd = onEnd
    this.#worker = new Worker(new URL('./archive.worker.ts', import.meta.url), { execArgv: [] })
    this.#worker.unref()
    this.#worker.on('message', (message: FromWorker) => this.#listeners.get(message.id)?.hear(message))
    this.#worker.on('error', error => this.#lost(error))
    this.#worker.on('exit', () => this.#lost(new Error('the worker ended')))
  }

  get load(): number {
    return this.#listeners.size
  }

  send(message: ToWorker, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer)
  }

  listen(id: number, listener: Listener): Disposable {
    this.#listeners.set(id, listener)
    clearTimeout(this.#idle)
    this.#worker.ref()
    return {
      [Symbol.dispose]: () => {
        this.#listeners.delete(id)
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

// These use a core for as long as they run; the others wait for a client most of the time.
const heavy = new Set<TaskName>(['unpackLayer', 'completeLayer', 'composeStack', 'remove'])

export class WorkerPool implements AsyncDisposable {
  readonly #size: number
  readonly #idleMs: number
  readonly #seats: Seat[] = []
  readonly #gate: Gate
  #ids = 0

  constructor(size = availableParallelism(), idleMs = 60_000) {
    this.#size = size
    this.#idleMs = idleMs
    this.#gate = new Gate(size)
  }

  /** Workers that run now. */
  get workers(): number {
    return this.#seats.length
  }

  /** Runs a task to its end. Errors: the task's BerthError; `cancelled` after an abort. */
  run<T extends TaskName>(
    task: T,
    input: Tasks[T]['input'],
    options: TaskOptions = {},
  ): Promise<Tasks[T]['result']> {
    const running = (): Promise<Tasks[T]['result']> => this.#run(task, input, options)
    return heavy.has(task) ? this.#gate.run(running) : running()
  }

  /** Runs a task that gives bytes; ending the iteration early cancels it. At most 2 MiB are under way. */
  async *stream<T extends 'pack' | 'packChanges'>(
    task: T,
    input: Tasks[T]['input'],
    options: { signal?: AbortSignal } = {},
  ): AsyncGenerator<Buffer> {
    const chunks: Uint8Array[] = []
    let wake = (): void => {}
    let finished = false
    const stop = new AbortController()
    const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal
    const take: { taken: () => void } = { taken: () => {} }
    const done = this.#run(
      task,
      input,
      { signal },
      {
        take,
        chunk: bytes => {
          chunks.push(bytes)
          wake()
        },
      },
    ).finally(() => {
      finished = true
      wake()
    })
    done.catch(() => {})
    try {
      for (;;) {
        const bytes = chunks.shift()
        if (bytes) {
          yield Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
          take.taken()
        } else if (finished) break
        else await new Promise<void>(resolve => (wake = resolve))
      }
      await done
    } finally {
      stop.abort()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#seats.splice(0).map(seat => seat.end()))
  }

  /** The least busy worker; a new one while there are fewer than may be. */
  #seat(): Seat {
    const idle = this.#seats.find(seat => seat.load === 0)
    if (idle) return idle
    if (this.#seats.length < this.#size) {
      const seat = new Seat(this.#idleMs, lost => {
        const index = this.#seats.indexOf(lost)
        if (index >= 0) this.#seats.splice(index, 1)
      })
      this.#seats.push(seat)
      return seat
    }
    return this.#seats.reduce((best, seat) => (seat.load < best.load ? seat : best))
  }

  async #run<T extends TaskName>(
    task: T,
    input: Tasks[T]['input'],
    options: TaskOptions,
    output?: { take: { taken: () => void }; chunk: (bytes: Uint8Array) => void },
  ): Promise<Tasks[T]['result']> {
    if (options.signal?.aborted) throw new BerthError('cancelled', 499, 'the work was cancelled')
    const seat = this.#seat()
    const id = ++this.#ids
    const window = new Window()
    if (output) output.take.taken = () => seat.send({ id, kind: 'taken' })
    const { promise, resolve, reject } = Promise.withResolvers<Tasks[T]['result']>()
    const cut = (): void => seat.send({ id, kind: 'cut' })
    options.signal?.addEventListener('abort', cut, { once: true })
    using _listening = seat.listen(id, {
      fail: reject,
      hear: message => {
        if (message.kind === 'progress') options.onProgress?.(message.bytes)
        else if (message.kind === 'taken') window.open()
        else if (message.kind === 'chunk') output?.chunk(message.bytes)
        else if (message.kind === 'done') resolve(message.result as Tasks[T]['result'])
        else reject(errorFrom(message.error))
      },
    })
    seat.send({ id, kind: 'start', task, input })
    try {
      if (!options.input) return await promise
      return await feeding(promise, { seat, id, window, source: options.input })
    } finally {
      options.signal?.removeEventListener('abort', cut)
    }
  }
}

/** Counts chunks under way to a worker. */
class Window {
  #free = WINDOW
  #wake: () => void = () => {}

  open(): void {
    this.#free++
    this.#wake()
  }

  async pass(): Promise<void> {
    while (this.#free === 0) await new Promise<void>(resolve => (this.#wake = resolve))
    this.#free--
  }
}

interface Feed {
  seat: Seat
  id: number
  window: Window
  source: AsyncIterable<Uint8Array>
}

/** Sends the source to the task at its pace; returns when the source ended or the task needs no more. */
const pump = async (feed: Feed, isOver: () => boolean): Promise<void> => {
  for await (const chunk of feed.source)
    for (let at = 0; at < chunk.length; at += CHUNK) {
      await feed.window.pass()
      if (isOver()) return
      const bytes = Uint8Array.from(chunk.subarray(at, at + CHUNK))
      feed.seat.send({ id: feed.id, kind: 'chunk', bytes }, [bytes.buffer])
    }
  feed.seat.send({ id: feed.id, kind: 'end' })
}

/** A task with its input; whichever fails first ends both. A source that is waiting is left at its next chunk. */
const feeding = async <R>(result: Promise<R>, feed: Feed): Promise<R> => {
  let over = false
  const settled = result.finally(() => {
    over = true
    feed.window.open()
  })
  const failed = pump(feed, () => over).then(
    () => settled,
    async (error: unknown) => {
      feed.seat.send({ id: feed.id, kind: 'cut' })
      await settled.catch(() => {})
      throw error
    },
  )
  return await Promise.race([settled, failed])
}
