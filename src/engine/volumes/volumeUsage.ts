import type { TreeSize } from '../../archive/measure.ts'
import type { WorkerPool } from '../../archive/pool.ts'
import { hasCode } from '../../core/errors.ts'
import { Gate } from '../../core/queue.ts'
import type { VolumeRecord } from './types.ts'
import type { Volumes } from './volumes.ts'

/** Trees that are walked at a time. */
const atOnce = 2

interface Parts {
  volumes: Volumes
  pool: WorkerPool
  /** Whether a container runs that may write to it. */
  isWritten: (name: string) => boolean
}

/**
 * Sizes of volumes. A size is kept until something could have written to the
 * volume through the daemon; who asks while it is being counted waits for the
 * same count.
 */
export class VolumeUsage {
  readonly #parts: Parts
  readonly #gate = new Gate(atOnce)
  readonly #known = new Map<string, TreeSize>()
  readonly #counts = new Map<string, Promise<TreeSize>>()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** Somebody begins to write to it, has written, or it is gone. */
  touch(name: string): void {
    this.#known.delete(name)
    this.#counts.delete(name)
  }

  /** Of one that is not a mounted volume. */
  sizeOf({ name }: VolumeRecord): Promise<TreeSize> {
    const known = this.#known.get(name)
    if (known) return Promise.resolve(known)
    const underWay = this.#counts.get(name)
    if (underWay !== undefined) return underWay
    const count = this.#count(name)
    this.#counts.set(name, count)
    const settle = (size: TreeSize | undefined): void => {
      // Touched meanwhile: what was counted is not what is there.
      if (this.#counts.get(name) !== count) return
      this.#counts.delete(name)
      if (size && !this.#parts.isWritten(name)) this.#known.set(name, size)
    }
    count.then(settle, () => settle(undefined))
    return count
  }

  async #count(name: string): Promise<TreeSize> {
    const { pool, volumes } = this.#parts
    try {
      return await this.#gate.run(() => pool.run('measure', { directory: volumes.home(name) }))
    } catch (error) {
      if (hasCode(error, 'not-found')) return { size: 0, diskBytes: 0, entries: 0 }
      throw error
    }
  }
}
