import { digestOfVertex } from './digest.ts'
import type { Edge, Graph, Vertex, VertexDigest } from './types.ts'

/** The digests that a result needs, each after those that it takes. No calls within calls: files can be long. */
const neededFor = (result: Edge, vertices: ReadonlyMap<VertexDigest, Vertex>): Set<VertexDigest> => {
  const needed = new Set<VertexDigest>()
  const open = [result.vertex]
  for (let digest = open.at(-1); digest !== undefined; digest = open.at(-1)) {
    const inputs = vertices.get(digest)?.inputs.map(({ vertex }) => vertex) ?? []
    const missing = inputs.filter(input => !needed.has(input))
    if (missing.length > 0 && !needed.has(digest)) open.push(...missing.reverse())
    else {
      open.pop()
      needed.add(digest)
    }
  }
  return needed
}

/** What one of a graph's results needs. */
export const partOf = ({ vertices }: Pick<Graph, 'vertices'>, result: Edge): Graph => {
  const needed = [...neededFor(result, vertices)].flatMap(digest => vertices.get(digest) ?? [])
  return { vertices: new Map(needed.map(vertex => [vertex.digest, vertex])), result }
}

/** Collects vertices; of equal ones there is one, with the step that it came with first. */
export class GraphBuilder {
  readonly #vertices = new Map<VertexDigest, Vertex>()

  /** The vertex's first result. Its inputs are there already. */
  add(vertex: Omit<Vertex, 'digest'>): Edge {
    const digest = digestOfVertex(vertex)
    const known = this.#vertices.get(digest)
    if (!known) this.#vertices.set(digest, { ...vertex, digest })
    // Who wants it anew gets it anew, whoever named it first.
    else if (vertex.step.ignoreCache && !known.step.ignoreCache)
      this.#vertices.set(digest, { ...known, step: { ...known.step, ignoreCache: true } })
    return { vertex: digest, index: 0 }
  }

  /** All of a graph that was made before; its result. */
  include(graph: Graph): Edge | undefined {
    for (const { digest: _, ...vertex } of graph.vertices.values()) this.add(vertex)
    return graph.result
  }

  graph(result: Edge | undefined): Graph {
    return result ? partOf({ vertices: this.#vertices }, result) : { vertices: new Map(), result }
  }
}
