import { internal } from '../../core/errors.ts'
import type { Edge, Graph, Vertex, VertexDigest } from '../graph/types.ts'
import type { Outcome } from './outcome.ts'
import { type Seen, seenBy } from './seenBy.ts'
import type { KeyDigest, KeyParts, VertexState } from './types.ts'

/** The vertices that a build needs, with what it knows of each so far. */

/** What is known of a vertex once those that it takes have their chain keys. */
export interface Plan {
  /** That by content first, where there is one; none where only the content of the result tells. */
  keys: KeyDigest[]
  /** What is there already. */
  found?: Outcome
  made?: KeyParts
  /** It was there once, and counted by these: enough for what is above it. */
  past?: KeyDigest[]
  /** What is still to be found out where its result is wanted. */
  rest?: () => Promise<Plan>
}

export interface Node {
  vertex: Vertex
  inputs: { node: Node; index: number }[]
  seen: Seen[]
  /** Its results that somebody takes. */
  wanted: number[]
  /** What was told last. */
  state: VertexState
  plan?: Promise<Plan>
  whole?: Promise<Plan>
  /** Whether it cannot be found, known before its plan is. */
  doom?: Promise<boolean>
  outcome?: Promise<Outcome>
  /** The same as what stays when the build has ended. */
  kept?: Promise<Outcome>
  /** Chain keys by content, by index of the result. */
  contentChains: Map<number, Promise<KeyDigest>>
}

export const nodeAt = (nodes: ReadonlyMap<VertexDigest, Node>, digest: VertexDigest): Node => {
  const node = nodes.get(digest)
  if (!node) throw internal(`the graph has no vertex ${digest}, or has it behind one that takes it`)
  return node
}

/** Digests that the edges need; a graph has each vertex after its inputs. */
const neededFor = ({ vertices }: Graph, edges: readonly Edge[]): Set<VertexDigest> => {
  const needed = new Set(edges.map(({ vertex }) => vertex))
  for (const { digest, inputs } of [...vertices.values()].reverse())
    if (needed.has(digest)) for (const { vertex } of inputs) needed.add(vertex)
  return needed
}

/** Each after those that it takes. Errors: `internal` where the graph lacks one. */
export const nodesOf = (graph: Graph, edges: readonly Edge[]): Map<VertexDigest, Node> => {
  const needed = neededFor(graph, edges)
  const nodes = new Map<VertexDigest, Node>()
  for (const vertex of graph.vertices.values()) {
    if (!needed.has(vertex.digest)) continue
    const inputs = vertex.inputs.map(edge => ({ node: nodeAt(nodes, edge.vertex), index: edge.index }))
    nodes.set(vertex.digest, {
      vertex,
      inputs,
      seen: seenBy(vertex),
      wanted: [],
      state: 'waiting',
      contentChains: new Map(),
    })
    for (const { node, index } of inputs) want(node, index)
  }
  for (const { vertex, index } of edges) want(nodeAt(nodes, vertex), index)
  return nodes
}

const want = ({ wanted }: Node, index: number): void => {
  if (!wanted.includes(index)) wanted.push(index)
}
