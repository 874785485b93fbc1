import { BerthError } from '../core/errors.ts'
import type { DockerfileSource } from './frontend/frontend.ts'
import { partOf } from './graph/builder.ts'
import type { Edge, Graph, Step } from './graph/types.ts'
import type { LentResult } from './lending.ts'
import type { Plan } from './plan/types.ts'
import { SolveError } from './solver/errors.ts'
import type { ImportedResults, ResultMark, Solution, Tree } from './solver/types.ts'

/** Results of a build: planned ones, which are made when somebody needs them, and made ones. */

/** What is to be built for one platform. */
export interface PlannedPlatform {
  platform: string
  plan: Pick<Plan, 'graph' | 'image' | 'baseImage' | 'epoch'>
  /** Absent for a client's own graph. */
  source?: DockerfileSource
}

/** What a build of one platform came to. */
export interface BuiltPlatform extends Pick<PlannedPlatform, 'platform' | 'plan'> {
  tree: Tree
  mark: ResultMark
  /** What is known of all vertices, for a cache that is exported. */
  results: Solution['results']
}

/** How a build is solved. */
export interface SolveOptions {
  /** Caches that it may take results of. */
  imported?: ImportedResults | undefined
  /** Not only its results are held until it is disposed of, but those of all vertices. */
  holdsAll?: boolean
}

/** A step failed, with the lines that it comes from. */
export class StepError extends BerthError {
  readonly source: DockerfileSource
  readonly lines: { start: number; end: number }[]

  constructor(source: DockerfileSource, error: SolveError) {
    super(error.code, error.status, error.message, { cause: error })
    this.source = source
    this.lines = error.vertex.step.source?.ranges ?? []
  }
}

type Make = (planned: PlannedPlatform) => Promise<BuiltPlatform>

/** Made once, when somebody needs it first. */
export class PlannedResult implements LentResult {
  readonly planned: PlannedPlatform
  readonly #make: Make
  #made: Promise<BuiltPlatform> | undefined

  constructor(planned: PlannedPlatform, make: Make) {
    this.planned = planned
    this.#make = make
  }

  get graph(): Graph {
    return this.planned.plan.graph
  }

  get step(): Step {
    const { result, vertices } = this.graph
    return (result && vertices.get(result.vertex)?.step) ?? { name: 'nothing' }
  }

  /** Errors: `StepError`. */
  made(): Promise<BuiltPlatform> {
    this.#made ??= this.#solve()
    return this.#made
  }

  async #solve(): Promise<BuiltPlatform> {
    const { source } = this.planned
    try {
      return await this.#make(this.planned)
    } catch (error) {
      throw error instanceof SolveError && source ? new StepError(source, error) : error
    }
  }

  /** A tree that is there already, and that no graph gives. */
  replaced(tree: Tree): PlannedResult {
    const { planned } = this
    const plan = { ...planned.plan, graph: { vertices: new Map(), result: undefined } }
    return new PlannedResult({ ...planned, plan }, async ({ platform, plan }) => ({
      ...{ platform, plan, tree, mark: {} },
      results: async () => [],
    }))
  }

  /** A result on the way to this one, made the same way. */
  part(edge: Edge): PlannedResult {
    const { planned } = this
    const plan = { ...planned.plan, graph: partOf(this.graph, edge) }
    return new PlannedResult({ ...planned, plan }, this.#make)
  }
}
