import { nowNanos } from '../../core/clock.ts'
import type { PullLine } from '../../engine/images/pullProgress.ts'
import type { PartStatus, StepReport } from '../solver/types.ts'

/** Milliseconds between two figures of one part. */
const pause = 100

/** Ends of what a pull says of a layer. */
const last = new Set(['Pull complete', 'Already exists'])

/** Parts of a step with progress of their own: layers that are pulled, files that come. */
export class Parts {
  readonly #report: StepReport
  readonly #parts = new Map<string, PartStatus>()
  #told = 0

  constructor(report: StepReport) {
    this.#report = report
  }

  /** A line of a pull: of a layer by its short id, of others nothing. */
  pulled({ status, id, progressDetail }: PullLine): void {
    if (!id) return
    const isLast = last.has(status)
    const { current = 0, total = 0 } = progressDetail ?? {}
    const part = this.#part(id, status === 'Extracting' ? `extracting ${id}` : id)
    const isNew = part.total === 0 && total > 0
    this.#tell(
      { ...part, ...(total > 0 ? { current, total } : {}), ...(isLast ? { completedAt: nowNanos() } : {}) },
      isLast || isNew,
    )
  }

  /** Bytes so far, of how many nobody knows. */
  transferred(name: string, bytes: number): void {
    this.#tell({ ...this.#part(name, name), current: bytes }, false)
  }

  /** All parts are done. */
  finish(): void {
    for (const part of this.#parts.values())
      if (part.completedAt === undefined) this.#tell({ ...part, completedAt: nowNanos() }, true)
  }

  #part(id: string, name: string): PartStatus {
    const known = this.#parts.get(id)
    return known ?? { id, name, current: 0, total: 0, startedAt: nowNanos() }
  }

  #tell(part: PartStatus, isDue: boolean): void {
    this.#parts.set(part.id, part)
    const now = performance.now()
    if (!isDue && now - this.#told < pause) return
    this.#told = now
    this.#report.status(part)
  }
}
