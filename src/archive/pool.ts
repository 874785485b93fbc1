import { availableParallelism } from 'node:os'
import { withAdvice } from '../core/advice.ts'
import { BerthError } from '../core/errors.ts'
import { Gate } from '../core/queue.ts'
import { type Listener, Seat } from './seat.ts'
import { CHUNK, type ErrorRecord, type TaskName, type Tasks, WINDOW } from './tasks.ts'

/**
 * The workers that parse, hash, decompress and make files. Started when first
 * needed, one a core, and one for each task that may get stuck; idle ones do
 * not keep the process alive.
 */

export interface TaskOptions {
  signal?: AbortSignal
  onProgress?: (bytes: number) => void
  /** Bytes that the task takes; read at the worker's pace. */
  input?: AsyncIterable<Uint8Array>
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

// These use a core for as long as they run; the others wait for a client most of the time.
const heavy = new Set<TaskName>([
  'unpackLayer',
  'completeLayer',
  'composeStack',
  'remove',
  'layerDigest',
  'reduceCopy',
  'settleLayer',
  'module',
])

// These go through what is mounted into a container, and a mount may hang: each has a worker to itself.
const unsafe = new Set<TaskName>(['pack', 'extract', 'relabel'])
/** So many of those at a time. */
const UNSAFE_WIDTH = 32

export class WorkerPool implements AsyncDisposable {
  readonly #size: number
  readonly #idleMs: number
  readonly #seats: Seat[] = []
  readonly #gate: Gate
  readonly #unsafeGate = new Gate(UNSAFE_WIDTH)
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
    return this.#run(task, input, options)
  }

  /** Runs a task that gives bytes, and its result at their end; ending the iteration early cancels it. At most 2 MiB are under way. */
  async *stream<T extends 'pack' | 'packChanges' | 'packLayer' | 'gzip'>(
    task: T,
    input: Tasks[T]['input'],
    options: Omit<TaskOptions, 'input'> = {},
  ): AsyncGenerator<Buffer, Tasks[T]['result']> {
    const chunks: Uint8Array[] = []
    let wake = (): void => {}
    let finished = false
    const stop = new AbortController()
    const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal
    const take: { taken: () => void } = { taken: () => {} }
    const done = this.#run(
      task,
      input,
      { ...options, signal },
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
      return await done
    } finally {
      stop.abort()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#seats.splice(0).map(seat => seat.end()))
  }

  /** An idle worker; else for a task of its own a new one, for others a new one while there are few, or the least busy. */
  #seat(task: TaskName): Seat {
    const idle = this.#seats.find(seat => seat.load === 0)
    if (idle) return idle
    const shared = this.#seats.filter(seat => !seat.isTaken)
    if (unsafe.has(task) || shared.length < this.#size) return this.#hire()
    return shared.reduce((best, seat) => (seat.load < best.load ? seat : best))
  }

  #hire(): Seat {
    const seat = new Seat(this.#idleMs, lost => {
      const index = this.#seats.indexOf(lost)
      if (index >= 0) this.#seats.splice(index, 1)
    })
    this.#seats.push(seat)
    return seat
  }

  #run<T extends TaskName>(
    task: T,
    input: Tasks[T]['input'],
    options: TaskOptions,
    output?: TaskOutput,
  ): Promise<Tasks[T]['result']> {
    const seated = (): Promise<Tasks[T]['result']> => this.#seated(task, input, options, output)
    if (heavy.has(task)) return this.#gate.run(seated, options.signal)
    return unsafe.has(task) ? this.#unsafeGate.run(seated, options.signal) : seated()
  }

  async #seated<T extends TaskName>(
    task: T,
    input: Tasks[T]['input'],
    options: TaskOptions,
    output?: TaskOutput,
  ): Promise<Tasks[T]['result']> {
    if (options.signal?.aborted) throw new BerthError('cancelled', 499, 'the work was cancelled')
    const seat = this.#seat(task)
    const id = ++this.#ids
    const window = new Window()
    if (output) output.take.taken = () => seat.send({ id, kind: 'taken' })
    const { promise, resolve, reject } = Promise.withResolvers<Tasks[T]['result']>()
    const cut = (): void => seat.send({ id, kind: 'cut' })
    options.signal?.addEventListener('abort', cut, { once: true })
    const listener: Listener = {
      fail: reject,
      hear: message => {
        if (message.kind === 'progress') options.onProgress?.(message.bytes)
        else if (message.kind === 'taken') window.open()
        else if (message.kind === 'chunk') output?.chunk(message.bytes)
        else if (message.kind === 'done') resolve(message.result as Tasks[T]['result'])
        else reject(errorFrom(message.error))
      },
    }
    using _listening = seat.listen(id, listener, { alone: unsafe.has(task) })
    seat.send({ id, kind: 'start', task, input })
    try {
      if (!options.input) return await promise
      return await feeding(promise, { seat, id, window, source: options.input })
    } finally {
      options.signal?.removeEventListener('abort', cut)
    }
  }
}

interface TaskOutput {
  /** Gets what is to be called for each chunk that was taken. */
  take: { taken: () => void }
  chunk: (bytes: Uint8Array) => void
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
      const bytes = new Uint8Array(chunk.subarray(at, at + CHUNK))
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
