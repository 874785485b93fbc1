import { notFound } from '../core/errors.ts'
import type { Step } from './graph/types.ts'
import type { ResultMark, Tree } from './solver/types.ts'

/** Results of builds that others may begin with while those builds last: another target as a context (`target:`). */

export interface LentResult {
  /** That makes it. */
  step: Step
  /** Makes it, where nobody has needed it so far. Errors: those of the build that lends it. */
  made(): Promise<{ tree: Tree; mark: ResultMark }>
}

export class Lending {
  readonly #lent = new Map<string, { result: LentResult; build: object }>()

  /** Until `build` has ended. */
  lend(id: string, result: LentResult, build: object): void {
    this.#lent.set(id, { result, build })
  }

  /** Errors: `not-found`. */
  find(id: string): LentResult {
    const found = this.#lent.get(id)
    if (!found)
      throw notFound(`the result ${id} of another build is not there any more: that build has ended`)
    return found.result
  }

  /** Before what it holds is let go. */
  ended(build: object): void {
    for (const [id, { build: lender }] of this.#lent) if (lender === build) this.#lent.delete(id)
  }
}
