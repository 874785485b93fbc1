import { nowNanos } from '../../core/clock.ts'
import { OutputLimit } from './outputLimit.ts'
import type { PartStatus, StepReport, VertexState } from './types.ts'
import type { Cause } from './why.ts'

/** What is told of a vertex, whichever build hears it. */
export type Told =
  | { kind: 'vertex'; state: VertexState; startedAt?: bigint; completedAt?: bigint; error?: string }
  | { kind: 'status'; part: PartStatus; time: bigint }
  | { kind: 'output'; stream: 'stdout' | 'stderr'; bytes: Uint8Array; time: bigint }
  | { kind: 'warning'; text: string }
  | { kind: 'causes'; causes: Cause[] }

type Hear = (told: Told) => void

const mostWarnings = 100
const mostParts = 2000

/** What has been told already, within bounds, for builds that come later to what is under way. */
class Journal {
  #state: Told | undefined
  #causes: Told | undefined
  readonly #parts = new Map<string, Told>()
  /** Bounded by the limits of output. */
  readonly #lines: Told[] = []
  #warnings = 0

  note(told: Told): void {
    if (told.kind === 'vertex') this.#state = told
    else if (told.kind === 'status') {
      if (this.#parts.size < mostParts || this.#parts.has(told.part.id)) this.#parts.set(told.part.id, told)
    } else if (told.kind === 'causes') this.#causes = told
    else if (told.kind === 'output') this.#lines.push(told)
    else if (this.#warnings++ < mostWarnings) this.#lines.push(told)
  }

  *replay(): IterableIterator<Told> {
    if (this.#causes) yield this.#causes
    if (this.#state) yield this.#state
    yield* this.#parts.values()
    yield* this.#lines
  }
}

/** Tells all who wait for one vertex of it. */
export class Telling implements StepReport {
  readonly #hearers = new Set<Hear>()
  readonly #journal = new Journal()
  #startedAt: bigint | undefined
  readonly #limits = {
    stdout: new OutputLimit(() => this.#seconds()),
    stderr: new OutputLimit(() => this.#seconds()),
  }

  #seconds(): number {
    return this.#startedAt === undefined ? 0 : Number(nowNanos() - this.#startedAt) / 1e9
  }

  /** Hears what was told before, and then what is. */
  join(hear: Hear): void {
    for (const told of this.#journal.replay()) hear(told)
    this.#hearers.add(hear)
  }

  leave(hear: Hear): void {
    this.#hearers.delete(hear)
  }

  #tell(told: Told): void {
    this.#journal.note(told)
    for (const hear of this.#hearers) hear(told)
  }

  started(): void {
    this.#startedAt = nowNanos()
    this.#tell({ kind: 'vertex', state: 'running', startedAt: this.#startedAt })
  }

  causes(causes: Cause[]): void {
    this.#tell({ kind: 'causes', causes })
  }

  /** Nothing where it has not been started. */
  ended(state: 'done' | 'cached' | 'failed' | 'cancelled', error?: string): void {
    if (this.#startedAt === undefined) return
    for (const stream of ['stdout', 'stderr'] as const) this.#lines(stream, this.#limits[stream].end())
    const times = { startedAt: this.#startedAt, completedAt: nowNanos() }
    this.#tell({ kind: 'vertex', state, ...times, ...(error === undefined ? {} : { error }) })
  }

  #lines(stream: 'stdout' | 'stderr', bytes: Uint8Array): void {
    if (bytes.length > 0) this.#tell({ kind: 'output', stream, bytes, time: nowNanos() })
  }

  output(stream: 'stdout' | 'stderr', bytes: Uint8Array): void {
    this.#lines(stream, this.#limits[stream].take(bytes))
  }

  status(part: PartStatus): void {
    this.#tell({ kind: 'status', part, time: nowNanos() })
  }

  warning(text: string): void {
    this.#tell({ kind: 'warning', text })
  }
}
