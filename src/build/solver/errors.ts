import { asBerthError, BerthError } from '../../core/errors.ts'
import type { Vertex } from '../graph/types.ts'

/** A vertex failed; the message, the code and the status are those of its error, which is the cause. */
export class SolveError extends BerthError {
  readonly vertex: Vertex

  constructor(vertex: Vertex, cause: unknown) {
    const { code, status, message } = asBerthError(cause)
    super(code, status, message, { cause })
    this.name = 'SolveError'
    this.vertex = vertex
  }
}
