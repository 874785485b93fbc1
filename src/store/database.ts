import { Worker } from 'node:worker_threads'
import { withAdvice } from '../core/advice.ts'
import { BerthError, internal, messageOf } from '../core/errors.ts'

/**
 * The metadata of a data root: JSON documents by kind and id, and the journal
 * of events, in one SQLite file behind one worker. Writes of all callers that
 * arrive together share one commit.
 *
 * `durable` commits reach the disk before they settle (what a client is told);
 * others survive the death of the daemon but not a power cut (intent about
 * kernel objects, which do not survive it either).
 */
export interface Put {
  kind: string
  id: string
  /** Undefined removes the document. */
  value: unknown
}

export interface StoredEvent {
  sequence: number
  /** Nanoseconds since the epoch. */
  time: bigint
  json: string
}

/** Which events of the journal are wanted; what is absent does not matter. */
export interface EventQuery {
  /** Nanoseconds since the epoch; both belong to it. */
  since: bigint
  until: bigint
  newestFirst: boolean
  /** The sequence number of the last event that was had. */
  after?: number
  type?: string
  action?: string
  /** The beginning of an id, or a name. */
  object?: string
  cause?: string
  limit: number
}

export interface EventPage {
  events: StoredEvent[]
  /** Where it goes on, for `after`; absent at the end. */
  after?: number
}

export type Request =
  | { op: 'write'; puts: { kind: string; id: string; json: string | null }[]; durable: boolean }
  | { op: 'load'; kind: string }
  | { op: 'event'; time: bigint; json: string }
  | { op: 'events'; since: bigint; until: bigint; after: number; limit: number }
  | { op: 'event-span'; since: bigint; until: bigint }
  | ({ op: 'find-events'; first: number; last: number } & EventQuery)
  | { op: 'trim-events'; keep: number }
  | { op: 'check'; quick: boolean }
  | { op: 'close' }

/** What goes to the worker: an array of these; an array of replies comes back. */
export type Message = Request & { id: number }

export type Reply =
  | { id: number; ok: true; value: unknown }
  | { id: number; ok: false; message: string; code: string }

/** Milliseconds that a lazy request may wait: each message to the worker costs more than what is in it. */
const lazyDelay = 20

/** Events that are looked at in one turn of the worker: some milliseconds. */
const searchedAtOnce = 2000

type Pending = { resolve: (value: unknown) => void; reject: (error: Error) => void }

const errorFrom = (reply: { message: string; code: string }): BerthError => {
  if (/disk is full|SQLITE_FULL|no space/i.test(reply.message))
    return new BerthError(
      'disk-full',
      500,
      withAdvice('the data root is full: no space left on device', 'ENOSPC'),
    )
  return internal(`metadata database: ${reply.message}`)
}

const largestTime = 2n ** 63n - 1n

/** A time that lies beyond what SQLite's integers hold is the last one there is. */
const withinDatabase = (time: bigint): bigint =>
  time > largestTime ? largestTime : time < -largestTime ? -largestTime : time

export class Database {
  readonly #worker: Worker
  readonly #pending = new Map<number, Pending>()
  readonly #outbox: Message[] = []
  #next = 1
  #soon: NodeJS.Immediate | undefined
  #later: NodeJS.Timeout | undefined
  #failure: Error | undefined

  private constructor(worker: Worker) {
    this.#worker = worker
    worker.on('message', (replies: Reply[]) => {
      for (const reply of replies) this.#settle(reply)
    })
    worker.on('error', error => this.#fail(internal(`metadata database: ${messageOf(error)}`, error)))
    worker.on('exit', () => this.#fail(internal('the metadata database has been closed')))
  }

  /** Opens or makes the file. Errors: `internal` where it is not a database of this or an earlier version. */
  static async open(file: string): Promise<Database> {
    const worker = new Worker(new URL('./database.worker.ts', import.meta.url), { workerData: { file } })
    const database = new Database(worker)
    await database.load('schema')
    return database
  }

  #settle(reply: Reply): void {
    const pending = this.#pending.get(reply.id)
    this.#pending.delete(reply.id)
    if (this.#pending.size === 0) this.#worker.unref()
    if (reply.ok) pending?.resolve(reply.value)
    else pending?.reject(errorFrom(reply))
  }

  #fail(error: Error): void {
    this.#failure ??= error
    for (const pending of this.#pending.values()) pending.reject(error)
    this.#pending.clear()
  }

  /** `lazy` requests wait a moment for others to travel with. */
  #ask(request: Request, options: { lazy?: boolean } = {}): Promise<unknown> {
    if (this.#failure) return Promise.reject(this.#failure)
    const id = this.#next++
    if (this.#pending.size === 0) this.#worker.ref()
    const answer = new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject }))
    this.#outbox.push({ id, ...request })
    if (options.lazy) this.#later ??= setTimeout(() => this.#send(), lazyDelay)
    else this.#soon ??= setImmediate(() => this.#send())
    return answer
  }

  /** All requests of one turn of the loop in one message: each message wakes the worker, and each batch is a commit. */
  #send(): void {
    clearTimeout(this.#later)
    clearImmediate(this.#soon)
    this.#later = undefined
    this.#soon = undefined
    this.#worker.postMessage(this.#outbox.splice(0))
  }

  /** Writes these documents in one transaction. */
  async write(puts: readonly Put[], options: { durable: boolean }): Promise<void> {
    const rows = puts.map(put => ({
      kind: put.kind,
      id: put.id,
      json: put.value === undefined ? null : JSON.stringify(put.value),
    }))
    await this.#ask({ op: 'write', puts: rows, durable: options.durable })
  }

  /** All documents of a kind. */
  async load(kind: string): Promise<{ id: string; value: unknown }[]> {
    const rows = (await this.#ask({ op: 'load', kind })) as { id: string; json: string }[]
    return rows.map(row => ({ id: row.id, value: JSON.parse(row.json) as unknown }))
  }

  /** Appends to the journal, in the order of the calls; settles when it survives the daemon's death. */
  async appendEvent(time: bigint, json: string, options: { lazy?: boolean } = {}): Promise<void> {
    await this.#ask({ op: 'event', time, json }, options)
  }

  /** A page of the journal in order, after `after`. */
  async events(range: {
    since: bigint
    until: bigint
    after: number
    limit: number
  }): Promise<StoredEvent[]> {
    const times = { since: withinDatabase(range.since), until: withinDatabase(range.until) }
    return (await this.#ask({ op: 'events', ...range, ...times })) as StoredEvent[]
  }

  /**
   * A page of the events that are wanted. The journal is searched in pieces, so
   * that writes do not wait for all of it. An abort ends the search.
   */
  async findEvents(query: EventQuery, signal?: AbortSignal): Promise<EventPage> {
    const { newestFirst, limit } = query
    const [since, until] = [withinDatabase(query.since), withinDatabase(query.until)]
    const span = (await this.#ask({ op: 'event-span', since, until })) as Record<
      'first' | 'last',
      number | null
    >
    let [first, last] = [span.first ?? 1, span.last ?? 0]
    if (query.after !== undefined && newestFirst) last = Math.min(last, query.after - 1)
    if (query.after !== undefined && !newestFirst) first = Math.max(first, query.after + 1)
    const events: StoredEvent[] = []
    while (first <= last && events.length < limit) {
      signal?.throwIfAborted()
      const piece = newestFirst
        ? { first: Math.max(first, last - searchedAtOnce + 1), last }
        : { first, last: Math.min(last, first + searchedAtOnce - 1) }
      const rest = { ...query, since, until, ...piece, limit: limit - events.length }
      events.push(...((await this.#ask({ op: 'find-events', ...rest })) as StoredEvent[]))
      if (newestFirst) last = piece.first - 1
      else first = piece.last + 1
    }
    const end = events.at(-1)
    return events.length < limit || !end ? { events } : { events, after: end.sequence }
  }

  async trimEvents(keep: number): Promise<void> {
    await this.#ask({ op: 'trim-events', keep })
  }

  /** What SQLite finds wrong with the file, in its words; nothing else is answered meanwhile. `quick` leaves the indexes out. */
  async check(quick: boolean): Promise<string[]> {
    const rows = (await this.#ask({ op: 'check', quick })) as Record<string, string>[]
    return rows.flatMap(row => Object.values(row)).filter(text => text !== 'ok')
  }

  async close(): Promise<void> {
    if (this.#failure) return
    await this.#ask({ op: 'close' })
    await this.#worker.terminate()
  }
}
