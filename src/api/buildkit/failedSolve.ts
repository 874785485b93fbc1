import { SolveError } from '../../build/solver/errors.ts'
import { asBerthError, BerthError, causeOf } from '../../core/errors.ts'
import type { Op } from '../../wire/buildkit/ops_pb.ts'

/** A step failed, with what a client needs to look into it (BuildKit's `errdefs.Solve`). Says what its cause says. */
export class FailedSolve extends BerthError {
  readonly op: Op
  /** Refs of what the step took, by its inputs; empty where that is nothing. */
  readonly inputIds: readonly string[]
  /** Refs of what its mounts were, by the mounts of the operation. */
  readonly mountIds: readonly string[]

  constructor(cause: unknown, { op, inputIds, mountIds }: Pick<FailedSolve, 'op' | 'inputIds' | 'mountIds'>) {
    const { code, status, message } = asBerthError(cause)
    super(code, status, message, { cause })
    this.op = op
    this.inputIds = inputIds
    this.mountIds = mountIds
  }
}

/** The step of which an error is. */
export const failedVertex = (error: unknown): SolveError['vertex'] | undefined =>
  causeOf(error, SolveError)?.vertex
