import { formatNanos } from '../../core/clock.ts'
import type { VertexInfo } from '../solver/progress.ts'
import type { Cause } from '../solver/why.ts'
import { whyText } from '../solver/whyText.ts'
import { withoutPasswords } from './attributes.ts'
import type { RecordedStep, StepCounts } from './types.ts'

type Causes = ReadonlyMap<string, readonly Cause[]>

/** Causes that are told of one step; a folder that changed as a whole has a hundred files. */
const mostCauses = 20

const whyOf = (causes: readonly Cause[] = []): string[] => {
  const told = causes.slice(0, mostCauses).map(cause => withoutPasswords(whyText(cause)))
  return causes.length > mostCauses ? [...told, `and ${causes.length - mostCauses} more`] : told
}

const stepOf = (info: VertexInfo, causes: Causes): RecordedStep => ({
  digest: info.digest,
  name: info.name,
  inputs: info.inputs,
  ...(info.startedAt === undefined ? {} : { startedAt: formatNanos(info.startedAt) }),
  ...(info.completedAt === undefined ? {} : { completedAt: formatNanos(info.completedAt) }),
  cached: info.cached,
  error: info.error,
  why: whyOf(causes.get(info.digest)),
})

/** What never began is last. */
const byStart = (a: VertexInfo, b: VertexInfo): number => {
  if (a.startedAt === b.startedAt) return 0
  if (a.startedAt === undefined) return 1
  return b.startedAt === undefined || a.startedAt < b.startedAt ? -1 : 1
}

/** The steps of a build, each in its last state, in the order in which they began. */
export class StepBook {
  readonly #steps = new Map<string, VertexInfo>()
  #warnings = 0

  hear({
    vertexes,
    warnings,
  }: {
    vertexes: readonly VertexInfo[]
    warnings: { readonly length: number }
  }): void {
    for (const info of vertexes) this.#steps.set(info.digest, info)
    this.#warnings += warnings.length
  }

  /** What was under way when the daemon ended has this error. */
  interrupt(at: bigint, error: string): void {
    for (const info of [...this.#steps.values()])
      if (info.startedAt !== undefined && info.completedAt === undefined)
        this.#steps.set(info.digest, { ...info, completedAt: at, error })
  }

  steps(causes: Causes): RecordedStep[] {
    return [...this.#steps.values()].sort(byStart).map(info => stepOf(info, causes))
  }

  get counts(): StepCounts {
    const all = [...this.#steps.values()]
    return {
      total: all.length,
      completed: all.filter(({ completedAt }) => completedAt !== undefined).length,
      cached: all.filter(({ cached }) => cached).length,
      warnings: this.#warnings,
    }
  }
}
