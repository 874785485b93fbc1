import type { VertexDigest } from '../graph/types.ts'
import type { Told } from './telling.ts'
import type { BuildContext, Identity, VertexState } from './types.ts'

/** What is known of one build over all that it has solved, one after the other or at once. */
export class BuildMemory {
  /** Records that it has made anew: what it solves later may use them. */
  readonly anew = new Set<string>()
  /** Of sources that it has asked for: they stay what they were. */
  readonly identities = new Map<VertexDigest, Identity>()
  readonly #vertices = new Map<VertexDigest, { state: VertexState; told: WeakSet<Told> }>()

  /** Whether it is news: it is told once, though two of its solves wait for the same, or come to what is done. */
  isNews(vertex: VertexDigest, told: Told): boolean {
    const known = this.#vertices.get(vertex)
    if (known?.told.has(told)) return false
    const state = told.kind === 'vertex' ? told.state : undefined
    if (known && state === 'waiting') return false
    if (state === 'cached' && (known?.state === 'done' || known?.state === 'cached')) return false
    const entry = known ?? { state: 'waiting', told: new WeakSet() }
    entry.told.add(told)
    if (state) entry.state = state
    this.#vertices.set(vertex, entry)
    return true
  }
}

/** Those of all builds that somebody still has. */
export class BuildMemories {
  readonly #memories = new WeakMap<BuildContext, BuildMemory>()

  of(build: BuildContext): BuildMemory {
    const memory = this.#memories.get(build) ?? new BuildMemory()
    this.#memories.set(build, memory)
    return memory
  }
}
