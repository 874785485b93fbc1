import path from 'node:path'
import { notFound } from '../../core/errors.ts'
import { SerialQueue } from '../../core/queue.ts'
import type { Database, Put } from '../../store/database.ts'
import type { Trash } from '../../store/trash.ts'
import type { VolumeRecord } from './types.ts'

const kind = 'volume'

/** The record to write together with others. */
export const volumePut = (record: VolumeRecord): Put => ({ kind, id: record.name, value: record })

/** Forgets it in a transaction with others. */
export const volumeDrop = (name: string): Put => ({ kind, id: name, value: undefined })

/** The records of all volumes, and the turns of those who change one. */
export class Volumes {
  /** `<data-root>/volumes` */
  readonly folder: string
  readonly trash: Trash
  readonly #byName = new Map<string, VolumeRecord>()
  readonly #queues = new Map<string, SerialQueue>()
  readonly #lent = new Map<string, number>()

  constructor(parts: { dataRoot: string; trash: Trash }) {
    this.folder = path.join(parts.dataRoot, 'volumes')
    this.trash = parts.trash
  }

  /** All records as they are stored, of whatever version. */
  static stored(database: Database): Promise<{ id: string; value: unknown }[]> {
    return database.load(kind)
  }

  home(name: string): string {
    return path.join(this.folder, name)
  }

  /** Docker's `Mountpoint`. */
  data(name: string): string {
    return path.join(this.folder, name, '_data')
  }

  all(): VolumeRecord[] {
    return [...this.#byName.values()]
  }

  find(name: string): VolumeRecord | undefined {
    return this.#byName.get(name)
  }

  /** Errors: `not-found` in Docker's words. */
  get(name: string): VolumeRecord {
    const found = this.#byName.get(name)
    if (!found) throw notFound(`get ${name}: no such volume`)
    return found
  }

  /** From now on it is found; its record is durable. */
  admit(record: VolumeRecord): void {
    this.#byName.set(record.name, record)
  }

  /** Has it stay mounted until the result is disposed of. */
  lend(name: string): Disposable {
    this.#lent.set(name, (this.#lent.get(name) ?? 0) + 1)
    return {
      [Symbol.dispose]: () => {
        const rest = (this.#lent.get(name) ?? 1) - 1
        if (rest > 0) this.#lent.set(name, rest)
        else this.#lent.delete(name)
      },
    }
  }

  isLent(name: string): boolean {
    return this.#lent.has(name)
  }

  forget(name: string): void {
    this.#byName.delete(name)
  }

  /**
   * Runs a task that nobody else's on any of these volumes overlaps. Names are
   * entered in one order, so that no two tasks wait for each other. An abort of
   * the signal ends the wait.
   */
  async exclusively<T>(names: readonly string[], task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const [first, ...rest] = [...new Set(names)].sort()
    if (first === undefined) return await task()
    return await this.#serial(first, () => this.exclusively(rest, task, signal), signal)
  }

  async #serial<T>(name: string, task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const queue = this.#queues.get(name) ?? new SerialQueue()
    this.#queues.set(name, queue)
    try {
      return await queue.run(task, signal)
    } finally {
      // The queue counts down after this task's own continuation.
      setImmediate(() => {
        if (queue.idle && this.#queues.get(name) === queue) this.#queues.delete(name)
      })
    }
  }
}
