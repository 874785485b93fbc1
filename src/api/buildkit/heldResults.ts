import { definitionOfResult } from '../../build/frontend/definition.ts'
import { opsOf } from '../../build/frontend/vertexOps.ts'
import type { Vertex, VertexDigest } from '../../build/graph/types.ts'
import type { BuiltPlatform, PlannedResult } from '../../build/result.ts'
import type { Tree } from '../../build/solver/types.ts'
import { notFound } from '../../core/errors.ts'
import { newId } from '../../core/ids.ts'
import type { Definition } from '../../wire/buildkit/ops_pb.ts'
import { FailedSolve, failedVertex } from './failedSolve.ts'

export interface ResultHost {
  /** Gives it to other builds, too. */
  lend(ref: string, result: PlannedResult): void
  /** What the results of a step were when it failed, where that was kept. */
  leftBy(vertex: VertexDigest): readonly Tree[] | undefined
}

/** The results of a build by the refs under which its client knows them, and those on the way to them. */
export class HeldResults {
  readonly #byRef = new Map<string, PlannedResult>()
  readonly #host: ResultHost

  constructor(host: ResultHost) {
    this.#host = host
  }

  hold(result: PlannedResult): string {
    const ref = newId()
    this.#byRef.set(ref, result)
    this.#host.lend(ref, result)
    return ref
  }

  has(ref: string): boolean {
    return this.#byRef.has(ref)
  }

  /** Errors: `not-found`. */
  #get(ref: string): PlannedResult {
    const found = this.#byRef.get(ref)
    if (!found) throw notFound(`no such ref: ${ref}`)
    return found
  }

  /** One of which a vertex is a part. */
  with(vertex: VertexDigest): PlannedResult | undefined {
    return this.#byRef.values().find(({ graph }) => graph.vertices.has(vertex))
  }

  definition(ref: string): Definition {
    const { graph, planned } = this.#get(ref)
    return definitionOfResult(graph, { id: ref, source: planned.source })
  }

  /** Makes it, where nobody has needed it so far. Errors: `FailedSolve`, `not-found`. */
  async made(ref: string): Promise<BuiltPlatform> {
    const result = this.#get(ref)
    try {
      return await result.made()
    } catch (error) {
      const vertex = failedVertex(error)
      throw vertex ? this.#failed(error, vertex, result) : error
    }
  }

  #failed(error: unknown, vertex: Vertex, result: PlannedResult): unknown {
    const op = opsOf(result.graph).get(vertex.digest)?.op
    if (!op) return error
    const inputIds = vertex.inputs.map(edge => this.hold(result.part(edge)))
    const { operation } = vertex
    const mounts = operation.kind === 'exec' ? operation.mounts : []
    const left = this.#host.leftBy(vertex.digest)
    const mountIds = mounts.map(mount => {
      const tree = mount.kind === 'bind' && mount.output !== undefined ? left?.[mount.output] : undefined
      if (tree) return this.hold(result.replaced(tree))
      // What a cache begins with, and not what is in it.
      const input = 'input' in mount ? mount.input : undefined
      return input === undefined ? '' : (inputIds[input] ?? '')
    })
    return new FailedSolve(error, { op, inputIds, mountIds })
  }
}
