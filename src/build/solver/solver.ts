import { SerialQueue } from '../../core/queue.ts'
import { BuildMemories } from './buildMemory.ts'
import { Flights } from './flights.ts'
import { BuildSolve, type Shared } from './solveBuild.ts'
import { Turns } from './turns.ts'
import type { LayerRef, ResultCache, Solver, StepRunner } from './types.ts'

export interface SolverOptions {
  runner: StepRunner
  cache: ResultCache
  /** Processes and operations on files that run at once, of all builds; sources come beside them. */
  width: number
  /** A record is new: the cache may have become too large. */
  recorded?: (layers: readonly LayerRef[]) => void
  /** Results of caches that were imported are records now, whose layers may not be here yet. */
  adopted?: (ids: readonly string[]) => void
}

/** Solves graphs of several builds at once. */
export const createSolver = (options: SolverOptions): Solver => {
  const { runner, cache, width, recorded = () => {}, adopted = () => {} } = options
  const shared: Shared = {
    runner,
    cache,
    recorded,
    adopted,
    adoptions: new SerialQueue(),
    turns: new Turns(width),
    identities: new Flights(),
    runs: new Flights(),
    memories: new BuildMemories(),
  }
  return {
    solve: async request => await new BuildSolve(shared, request).solve(),
  }
}
