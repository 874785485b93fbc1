import { definitionOfResult } from '../../build/frontend/definition.ts'
import { opsOf } from '../../build/frontend/vertexOps.ts'
import type { Vertex, VertexDigest } from '../../build/graph/types.ts'
import type { BuiltPlatform, PlannedResult } from '../../build/result.ts'
import { notFound } from '../../core/errors.ts'
import { newId } from '../../core/ids.ts'
import type { Definition } from '../../wire/buildkit/ops_pb.ts'
import { FailedSolve, failedVertex } from './failedSolve.ts'

/** The results of a build by the refs under which its client knows them, and those on the way to them. */
export class HeldResults {
  readonly #byRef = new Map<string, PlannedResult>()
  readonly #lend: (ref: string, result: PlannedResult) => void

  /** `lend`: gives it to other builds, too. */
  constructor(lend: (ref: string, result: PlannedResult) => void) {
    this.#lend = lend
  }

  hold(result: PlannedResult): string {
    const ref = newId()
    this.#byRef.set(ref, result)
    this.#lend(ref, result)
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
  with(vertex: string): PlannedResult | undefined {
    return this.#byRef.values().find(({ graph }) => graph.vertices.has(vertex as VertexDigest))
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
    const mountIds = mounts.map(mount =>
      mount.kind === 'bind' && mount.input !== undefined ? (inputIds[mount.input] ?? '') : '',
    )
    return new FailedSolve(error, { op, inputIds, mountIds })
  }
}
