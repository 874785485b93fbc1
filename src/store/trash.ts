import { mkdirSync, readdirSync, renameSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { WorkerPool } from '../archive/pool.ts'
import { hasCode } from '../core/errors.ts'
import { failpoint } from '../core/failpoint.ts'
import { nonce } from '../core/ids.ts'

/** The stores of a data root share the folder: what one deletes, another leaves alone. */
const underway = new Set<string>()

/** Milliseconds until what could not be deleted is tried again; doubled each time. */
const firstRetry = 1_000
const longestRetry = 600_000

/**
 * Removal in two steps: a rename takes the folder out of the way, a worker
 * deletes it later. What a crash leaves here is deleted at the next start.
 */
export class Trash {
  readonly #directory: string
  readonly #pool: WorkerPool
  readonly #pending = new Set<Promise<void>>()
  readonly #onError: (path: string, error: unknown) => void
  readonly #onDeleted: () => void
  #retry: NodeJS.Timeout | undefined
  #retryDelay = firstRetry

  constructor(options: {
    root: string
    pool: WorkerPool
    onError?: (path: string, error: unknown) => void
    /** Hears of each deletion: space is free again. */
    onDeleted?: () => void
  }) {
    this.#directory = join(options.root, 'trash')
    this.#pool = options.pool
    this.#onError = options.onError ?? (() => {})
    this.#onDeleted = options.onDeleted ?? (() => {})
  }

  /** Takes a folder away; absent is fine. It must be on the data root's filesystem. */
  take(path: string): void {
    this.#makeDirectory()
    const target = join(this.#directory, `${basename(path)}-${nonce()}`)
    try {
      renameSync(path, target)
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return
      throw error
    }
    failpoint('trash.renamed')
    this.#delete(target)
  }

  /** Deletes what earlier processes left. */
  recover(): void {
    this.#makeDirectory()
    for (const name of readdirSync(this.#directory)) this.#delete(join(this.#directory, name))
  }

  /** Not its parents: a retry must not bring a data root back that was removed meanwhile. */
  #makeDirectory(): void {
    try {
      mkdirSync(this.#directory, { mode: 0o700 })
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error
    }
  }

  async idle(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending)
  }

  /** A failure, for want of descriptors say, is made up for later: by a timer, or by the next start. */
  #delete(path: string): void {
    if (underway.has(path)) return
    underway.add(path)
    const work = this.#pool.run('remove', { directory: path }).then(
      () => {
        this.#retryDelay = firstRetry
        this.#onDeleted()
      },
      error => {
        this.#onError(path, error)
        this.#retryLater()
      },
    )
    this.#pending.add(work)
    void work.finally(() => {
      this.#pending.delete(work)
      underway.delete(path)
    })
  }
  #retryLater(): void {
    if (this.#retry) return
    this.#retry = setTimeout(() => {
      this.#retry = undefined
      try {
        this.recover()
      } catch (error) {
        this.#onError(this.#directory, error)
        this.#retryLater()
      }
    }, this.#retryDelay)
    this.#retry.unref()
    this.#retryDelay = Math.min(this.#retryDelay * 2, longestRetry)
  }
}
