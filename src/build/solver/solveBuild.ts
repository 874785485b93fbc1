import { nowNanos } from '../../core/clock.ts'
import { messageOf } from '../../core/errors.ts'
import type { SerialQueue } from '../../core/queue.ts'
import type { Edge, Vertex, VertexDigest } from '../graph/types.ts'
import { adopt } from './adopt.ts'
import type { BuildMemories, BuildMemory } from './buildMemory.ts'
import { SolveError } from './errors.ts'
import type { Flights, Waiter } from './flights.ts'
import { isDoomed } from './foresee.ts'
import { keepFolder } from './keepFolder.ts'
import { localChain, resultKey } from './keys.ts'
import { outcomeOf, pastChains, resultsUnder, wholeUnder } from './lookup.ts'
import { type Node, nodeAt, nodesOf, type Plan } from './nodes.ts'
import { type Hold, markOf, noHold, type Outcome } from './outcome.ts'
import { type Asked, hasOnlyContent, planStep } from './plan.ts'
import { type Doing, runStep, treeOf } from './runStep.ts'
import { everything, standsOn } from './seenBy.ts'
import { solvedResults } from './solvedResults.ts'
import { Tasks } from './tasks.ts'
import { Telling, type Told } from './telling.ts'
import type {
  ContentDigest,
  Identity,
  KeyDigest,
  Selection,
  Solution,
  SolveRequest,
  StepReport,
} from './types.ts'

/** What all builds have in common. */
export interface Shared extends Doing {
  identities: Flights<Identity>
  runs: Flights<Outcome>
  memories: BuildMemories
  adoptions: SerialQueue
}

const isLocal = ({ operation }: Vertex): boolean => operation.kind === 'local'
const isSource = ({ operation }: Vertex): boolean =>
  operation.kind !== 'exec' && operation.kind !== 'file' && operation.kind !== 'merge'
const ignoresCache = ({ step }: Vertex): boolean => step.ignoreCache ?? false

/** Solves one build. All that it has begun has ended when `solve` settles. */
export class BuildSolve {
  readonly #shared: Shared
  readonly #request: SolveRequest
  readonly #edges: readonly Edge[]
  readonly #nodes: Map<VertexDigest, Node>
  readonly #tasks = new Tasks()
  readonly #memory: BuildMemory
  readonly #holds: { node: Node; hold: Hold }[] = []

  constructor(shared: Shared, request: SolveRequest) {
    this.#shared = shared
    this.#request = request
    this.#memory = shared.memories.of(request.build)
    this.#edges = request.edges ?? (request.graph.result ? [request.graph.result] : [])
    this.#nodes = nodesOf(request.graph, this.#edges)
  }

  async solve(): Promise<Solution> {
    const { signal } = this.#request.build
    const abort = (): void => this.#tasks.abort(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    if (signal.aborted) abort()
    try {
      return await this.#solve()
    } catch (error) {
      this.#tasks.abort(error)
      await this.#tasks.ended()
      this.#tellCancelled()
      await this.#release(() => true)
      throw this.#tasks.signal.reason
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  async #solve(): Promise<Solution> {
    this.#tasks.signal.throwIfAborted()
    for (const node of this.#nodes.values()) this.#tell(node, { kind: 'vertex', state: 'waiting' })
    // Each after those that it takes, so that none has to begin another within itself.
    for (const node of this.#nodes.values()) void this.#plan(node)
    const results = await Promise.all(
      this.#edges.map(async ({ vertex, index }) => ({
        outcome: await this.#outcome(nodeAt(this.#nodes, vertex)),
        index,
      })),
    )
    await this.#tasks.ended()
    this.#tasks.signal.throwIfAborted()
    const wanted = new Set(this.#edges.map(({ vertex }) => vertex))
    if (!this.#request.holdsAll) await this.#release(({ vertex }) => !wanted.has(vertex.digest))
    return {
      trees: results.map(({ outcome, index }) => treeOf(outcome, index)),
      marks: results.map(({ outcome, index }) => markOf(outcome, index)),
      results: () => solvedResults(this.#nodes.values(), this.#shared.cache),
      [Symbol.asyncDispose]: () => this.#release(() => true),
    }
  }

  async #release(which: (node: Node) => boolean): Promise<void> {
    for (const held of this.#holds.splice(0))
      if (which(held.node)) await held.hold.release()
      else this.#holds.push(held)
  }

  #keep(node: Node, outcome: Outcome): Outcome {
    this.#holds.push({ node, hold: outcome.hold() })
    return outcome
  }

  #begin<T>(node: Node, work: () => Promise<T>): Promise<T> {
    return this.#tasks.begin(work, error => this.#failed(node, error))
  }

  #failed(node: Node, error: unknown): SolveError {
    const now = nowNanos()
    const times = { startedAt: now, completedAt: now }
    if (node.state !== 'failed')
      this.#tell(node, { kind: 'vertex', state: 'failed', ...times, error: messageOf(error) })
    return new SolveError(node.vertex, error)
  }

  #tell(node: Node, told: Told): void {
    const { vertex } = node
    if (told.kind === 'vertex') node.state = told.state
    if (!this.#memory.isNews(vertex.digest, told)) return
    if (told.kind === 'vertex') this.#request.tell({ ...told, vertex })
    else this.#request.tell({ ...told, vertex: vertex.digest })
  }

  #tellCancelled(): void {
    const now = nowNanos()
    for (const node of this.#nodes.values())
      if (node.state === 'running') this.#tell(node, { kind: 'vertex', state: 'cancelled', completedAt: now })
  }

  #waiter(node: Node): Waiter {
    return {
      build: this.#request.build,
      signal: this.#tasks.signal,
      hear: told => this.#tell(node, told),
      hearInput: (index, told) => {
        const input = node.inputs[index]
        if (input) this.#tell(input.node, told)
      },
    }
  }

  #reportOf(node: Node): StepReport {
    const report = new Telling()
    report.join(told => this.#tell(node, told))
    return report
  }

  #plan(node: Node): Promise<Plan> {
    node.plan ??= this.#begin(node, () =>
      isSource(node.vertex) ? this.#planSource(node) : planStep(this.#asked, node),
    )
    return node.plan
  }

  async #wholePlan(node: Node): Promise<Plan> {
    const plan = await this.#plan(node)
    if (!plan.rest) return plan
    node.whole ??= this.#begin(node, plan.rest)
    return await node.whole
  }

  /** The results of a vertex, once it is wanted: what is found, or made now. */
  #outcome(node: Node): Promise<Outcome> {
    node.outcome ??= this.#begin(node, async () => {
      this.#foresee(node)
      const plan = await this.#wholePlan(node)
      return plan.found ?? (await this.#make(node, plan))
    })
    return node.outcome
  }

  #isDoomed(node: Node): Promise<boolean> {
    node.doom ??= this.#begin(node, () =>
      isDoomed(
        {
          planOf: other => this.#plan(other),
          chainOf: (other, index) => this.#chainOf(other, index),
          isBase: chain =>
            this.#shared.cache.isBase(chain) || (this.#request.imported?.isBase(chain) ?? false),
          isDoomed: other => this.#isDoomed(other),
        },
        node,
      ),
    )
    return node.doom
  }

  /** All that a step takes, as soon as it is known that it will be wanted: not first one, and then another. */
  #foresee(node: Node): void {
    const foreseeing = this.#begin(node, async () => {
      if (!(await this.#isDoomed(node))) return
      for (const input of node.inputs) this.#outcome(input.node).catch(() => {})
    })
    foreseeing.catch(() => {})
  }

  async #planSource(node: Node): Promise<Plan> {
    const { vertex } = node
    if (isLocal(vertex)) return { keys: [] }
    const { identities } = this.#memory
    const identity = identities.get(vertex.digest) ?? (await this.#identify(node))
    identities.set(vertex.digest, identity)
    return await this.#planIdentified(node, identity)
  }

  async #identify(node: Node): Promise<Identity> {
    const { vertex } = node
    return await this.#shared.identities.join({
      key: vertex.digest,
      waiter: this.#waiter(node),
      anew: false,
      begin: async ({ report, signal, builds }) => {
        report.started()
        try {
          const found = await this.#shared.runner.identify({ vertex, report, signal, builds })
          report.ended(found.tree && found.atHand ? 'cached' : 'done')
          return found
        } catch (error) {
          report.ended(signal.aborted ? 'cancelled' : 'failed', messageOf(error))
          throw error
        }
      },
    })
  }

  async #planIdentified(node: Node, { key, tree, record }: Identity): Promise<Plan> {
    const keys = key ? [key] : []
    const made = record === undefined ? undefined : this.#shared.cache.get(record)
    if (made) return { keys, found: this.#keep(node, outcomeOf(this.#shared.cache, new Map([[0, made]]))) }
    if (tree) return { keys, found: { trees: [tree], chains: [key], records: [], hold: noHold } }
    const found = key && (await this.#find(node, key))
    return found ? { keys, found } : { keys }
  }

  readonly #asked: Asked = {
    chainOf: (node, index) => this.#chainOf(node, index),
    contentOf: (input, selection) => this.#contentOf(input, selection),
    find: (node, key) => this.#find(node, key),
    pastChains: ({ vertex, wanted }, key) =>
      ignoresCache(vertex)
        ? undefined
        : pastChains({ cache: this.#shared.cache, imported: this.#request.imported }, key, wanted),
    link: async ({ records }, key) => {
      for (const [index, id] of records.entries())
        if (id !== undefined) await this.#shared.cache.link(id, [resultKey(key, index)])
    },
  }

  /** Of what is made anew in any case, the new one's: what stands on an older one is not found by it. */
  async #chainOf(node: Node, index: number): Promise<KeyDigest> {
    const plan = await this.#plan(node)
    const isNeeded = ignoresCache(node.vertex) || plan.keys.length === 0
    const outcome = isNeeded ? await this.#outcome(node) : plan.found
    const [key] = plan.keys
    if (!outcome && key) return plan.past?.[index] ?? resultKey(key, index)
    return outcome?.chains[index] ?? (await this.#contentChain(node, index))
  }

  #contentChain(node: Node, index: number): Promise<KeyDigest> {
    const begin = (): Promise<KeyDigest> =>
      this.#begin(node, async () => localChain((await this.#contentOf({ node, index }, everything)).digest))
    const chain = node.contentChains.get(index) ?? begin()
    node.contentChains.set(index, chain)
    return chain
  }

  async #contentOf({ node, index }: Node['inputs'][number], selection: Selection): Promise<ContentDigest> {
    const tree = treeOf(await this.#outcome(node), index)
    const input = { tree, report: this.#reportOf(node), builds: () => [this.#request.build] }
    return await this.#shared.runner.contentDigest(input, selection, this.#tasks.signal)
  }

  /** What is to be made anew is so once in a build, however often that solves it. */
  #mayUse({ vertex, wanted }: Node, key: KeyDigest): boolean {
    if (!ignoresCache(vertex)) return true
    const found = resultsUnder(this.#shared.cache, key, wanted)
    return found !== undefined && [...found.values()].every(({ id }) => this.#memory.anew.has(id))
  }

  async #find(node: Node, key: KeyDigest): Promise<Outcome | undefined> {
    if (!this.#mayUse(node, key)) return undefined
    const found = (await wholeUnder(this.#shared, key, node.wanted)) ?? (await this.#adopt(node, key))
    if (!found) return undefined
    this.#holds.push({ node, hold: found.hold })
    this.#tellFound(node, found.outcome)
    return found.outcome
  }

  async #adopt(node: Node, key: KeyDigest): ReturnType<typeof adopt> {
    const { imported } = this.#request
    if (!imported || ignoresCache(node.vertex)) return undefined
    const inputs = await Promise.all(
      node.inputs.map(async ({ node: input, index }, number) => {
        const { found: outcome } = await this.#plan(input)
        const isSeen = hasOnlyContent({ node: input, by: node.seen[number]?.by ?? 'key' })
        return { outcome, chain: isSeen ? undefined : await this.#chainOf(input, index) }
      }),
    )
    const { cache, adoptions, adopted } = this.#shared
    return await adopt({ cache, imported, adoptions, adopted }, node, { key, inputs })
  }

  #tellFound(node: Node, { records }: Outcome): void {
    for (const id of records) if (id !== undefined) this.#shared.cache.used(id)
    const now = nowNanos()
    this.#tell(node, { kind: 'vertex', state: 'cached', startedAt: now, completedAt: now })
  }

  /** What another build has made since it was looked for. */
  #madeMeanwhile(node: Node, keys: readonly KeyDigest[]): Outcome | undefined {
    const { cache } = this.#shared
    for (const key of keys) {
      const records = resultsUnder(cache, key, node.wanted)
      if (!records || !this.#mayUse(node, key)) continue
      const outcome = this.#keep(node, outcomeOf(cache, records))
      this.#tellFound(node, outcome)
      return outcome
    }
    return undefined
  }

  async #make(node: Node, { keys, made }: Plan): Promise<Outcome> {
    const { vertex } = node
    const inputs = await Promise.all(
      node.inputs.map(async ({ node: input, index }, number) => ({
        outcome: await (standsOn(vertex.operation, number) ? this.#standing(input) : this.#outcome(input)),
        index,
      })),
    )
    const outcome = await this.#shared.runs.join({
      // What only its content tells may be another thing in each build.
      key: keys[0] ?? `${this.#request.build.id} ${vertex.digest}`,
      anew: ignoresCache(vertex),
      waiter: this.#waiter(node),
      known: () => this.#madeMeanwhile(node, keys),
      begin: flight => runStep(this.#shared, { vertex, inputs, keys, made }, flight),
    })
    if (ignoresCache(vertex))
      for (const id of outcome.records) if (id !== undefined) this.#memory.anew.add(id)
    return this.#keep(node, outcome)
  }

  /** What results can be made upon: it has to stay when the build has ended. */
  async #standing(node: Node): Promise<Outcome> {
    const outcome = await this.#outcome(node)
    if (!isLocal(node.vertex)) return outcome
    node.kept ??= this.#begin(node, () => this.#keepFolder(node, outcome))
    return await node.kept
  }

  async #keepFolder(node: Node, outcome: Outcome): Promise<Outcome> {
    const { vertex } = node
    const chain = await this.#contentChain(node, 0)
    const found = await wholeUnder(this.#shared, chain, [0])
    if (found) {
      this.#holds.push({ node, hold: found.hold })
      return found.outcome
    }
    const { cache, runs } = this.#shared
    const kept = await runs.join({
      key: chain,
      anew: false,
      waiter: this.#waiter(node),
      known: () => {
        const records = resultsUnder(cache, chain, [0])
        return records && this.#keep(node, outcomeOf(cache, records))
      },
      begin: flight => keepFolder(this.#shared, { vertex, outcome, chain }, flight),
    })
    return this.#keep(node, kept)
  }
}
