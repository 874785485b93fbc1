import { nowNanos } from '../core/clock.ts'
import type { Vertex } from './graph/types.ts'
import type { BuildEvent } from './solver/types.ts'

/** Parts of a step, one after another. */
export class PartsInTurn {
  readonly #hear: (event: BuildEvent) => void
  readonly #vertex: Vertex
  #current: { id: string; startedAt: bigint } | undefined

  constructor(tell: (event: BuildEvent) => void, vertex: Vertex) {
    this.#hear = tell
    this.#vertex = vertex
  }

  next(id: string): void {
    this.end()
    this.#current = { id, startedAt: nowNanos() }
    this.#tell({})
  }

  end(): void {
    if (this.#current) this.#tell({ completedAt: nowNanos() })
    this.#current = undefined
  }

  #tell(more: { completedAt?: bigint }): void {
    if (!this.#current) return
    const { id, startedAt } = this.#current
    const part = { id, name: id, current: 0, total: 0, startedAt, ...more }
    this.#hear({ kind: 'status', vertex: this.#vertex.digest, part, time: nowNanos() })
  }
}
