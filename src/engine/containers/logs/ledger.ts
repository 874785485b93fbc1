import { Gate } from '../../../core/queue.ts'
import type { Compression } from './compress.ts'

/**
 * What all logs take on the disk, known without looking: two numbers for each container that
 * has a log. Monitors tell when a file has grown by `step` or was rotated, so that what is
 * counted lags behind by less than that for each container.
 */

/** Bytes by which a log grows between two words of its monitor. */
export const step = 1024 ** 2

interface LogSize {
  /** Of all rotated files. */
  rotated: number
  current: number
}

const nothing: LogSize = { rotated: 0, current: 0 }

export class LogLedger {
  readonly #sizes = new Map<string, LogSize>()
  #total = 0
  /** Bytes that the budget has taken since the daemon's start. */
  dropped = 0
  /** Logs are being brought back below the budget. */
  isHolding = false
  /** It was told that they cannot be. */
  isHelpless = false
  /** Containers whose files are being looked at; true where they have changed since. */
  readonly recounting = new Map<string, boolean>()
  /** Containers whose rotated files are being compressed. */
  readonly compressions = new Map<string, Compression>()
  readonly compressing = new Gate(1)
  /** Containers of which a client is being given the log before their output: uncompressed files stay so. */
  readonly replaying = new Map<string, number>()

  get total(): number {
    return this.#total
  }

  of(id: string): number {
    const { rotated, current } = this.#sizes.get(id) ?? nothing
    return rotated + current
  }

  set(id: string, change: Partial<LogSize>): void {
    const before = this.of(id)
    const size = { ...(this.#sizes.get(id) ?? nothing), ...change }
    const after = size.rotated + size.current
    if (after === 0) this.#sizes.delete(id)
    else this.#sizes.set(id, size)
    this.#total += after - before
  }

  forget(id: string): void {
    this.set(id, nothing)
  }

  /** The container with the largest log of those that are not left out; undefined where all logs are empty. */
  largest(except: ReadonlySet<string>): string | undefined {
    let found: string | undefined
    let most = 0
    for (const [id, { rotated, current }] of this.#sizes)
      if (rotated + current > most && !except.has(id)) {
        most = rotated + current
        found = id
      }
    return found
  }
}
