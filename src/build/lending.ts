import { notFound } from '../core/errors.ts'
import type { Graph, Step, VertexDigest } from './graph/types.ts'
import type { ResultMark, Tree } from './solver/types.ts'

/** Results of builds that others may begin with while those builds last: another target as a context (`target:`). */

export interface LentResult {
  graph: Graph
  /** That makes it. */
  step: Step
  /** Makes it, where nobody has needed it so far. Errors: those of the build that lends it. */
  made(): Promise<{ tree: Tree; mark: ResultMark }>
}

/** Graphs that are remembered when their builds have ended. */
const remembered = 16

export class Lending {
  readonly #lent = new Map<string, { result: LentResult; build: object }>()
  /** The newest last. */
  readonly #past: Graph[] = []

  /** Until `build` has ended. */
  lend(id: string, result: LentResult, build: object): void {
    this.#lent.set(id, { result, build })
  }

  /** Undefined where nobody lends it, or that build has ended. */
  find(id: string): LentResult | undefined {
    return this.#lent.get(id)?.result
  }

  /** Errors: `not-found`. */
  get(id: string): LentResult {
    const found = this.find(id)
    if (!found)
      throw notFound(`the result ${id} of another build is not there any more: that build has ended`)
    return found
  }

  /** Of a build that has ended lately: debuggers look into what a build has made when that is done. */
  past(vertex: VertexDigest): Graph | undefined {
    return this.#past.findLast(({ vertices }) => vertices.has(vertex))
  }

  /** Before what it holds is let go. */
  ended(build: object): void {
    for (const [id, { build: lender, result }] of this.#lent) {
      if (lender !== build) continue
      this.#lent.delete(id)
      this.#remember(result.graph)
    }
  }

  #remember(graph: Graph): void {
    const { result } = graph
    if (!result) return
    const known = this.#past.findIndex(past => past.result?.vertex === result.vertex)
    if (known >= 0) this.#past.splice(known, 1)
    this.#past.push(graph)
    if (this.#past.length > remembered) this.#past.shift()
  }
}
