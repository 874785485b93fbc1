import assert from 'node:assert/strict'
import { setImmediate } from 'node:timers/promises'
import type { Graph } from '../../graph/types.ts'
import { Cache } from '../cache.ts'
import { createSolver } from '../solver.ts'
import type { BuildEvent, ImportedResults, SolvedResult, Solver, Tree } from '../types.ts'
import { MemoryStore, type Outside, World } from './world.ts'

/** A solver over a model world, and its builds. */
export interface Bench {
  world: World
  store: MemoryStore
  cache: Cache
  solver: Solver
}

export const benchOf = async (outside: Partial<Outside> = {}, width = 4): Promise<Bench> => {
  const world = new World({ images: {}, locals: {}, downloads: {}, ...outside })
  const store = new MemoryStore()
  const cache = await Cache.open(store, () => true)
  return { world, store, cache, solver: createSolver({ runner: world, cache, width }) }
}

export interface Told {
  files: Record<string, string>
  events: BuildEvent[]
  /** What was done meanwhile. */
  done: string[]
  tree: Tree
  results: SolvedResult[]
}

let next = 1

/** One build from its beginning to its end. */
export const build = async (
  { solver, world }: Bench,
  graph: Graph,
  options: { id?: string; signal?: AbortSignal; events?: BuildEvent[]; imported?: ImportedResults } = {},
): Promise<Told> => {
  const { id = `build${next++}`, signal = new AbortController().signal, events = [] } = options
  const before = world.done.length
  await using solution = await solver.solve({
    build: { id, signal },
    graph,
    tell: event => events.push(event),
    holdsAll: true,
    ...(options.imported ? { imported: options.imported } : {}),
  })
  const [tree = { layers: [] }] = solution.trees
  const files = Object.fromEntries(world.files(tree))
  const results = await solution.results()
  return { files, events, tree, results, done: world.done.slice(before) }
}

/** Names of steps that ran. */
export const ran = (done: readonly string[]): string[] =>
  done.flatMap(text => (text.startsWith('run ') ? [text.slice(4)] : []))

/** The last state of each vertex, by its name. */
export const states = (events: readonly BuildEvent[]): Record<string, string> =>
  Object.fromEntries(
    events.flatMap(event => (event.kind === 'vertex' ? [[event.vertex.step.name, event.state]] : [])),
  )

/** That nobody holds anything any more. */
export const assertNothingHeld = async ({ cache, world }: Bench): Promise<void> => {
  await setImmediate()
  await setImmediate()
  await cache.idle()
  assert.equal(cache.held, 0)
  const recorded = new Set(
    [...cache.all()].flatMap(({ tree }) => tree.layers.map(layer => ('id' in layer ? layer.id : ''))),
  )
  for (const id of world.layers.keys())
    assert.ok(id.startsWith('sha256:') || recorded.has(id), `${id} is left`)
}

/** A world in which a step waits for the test; its cleaning up after an abort does, too. */
export const held = (bench: Bench, name: string) => {
  const [reached, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const aborted = Promise.withResolvers<void>()
  bench.world.hook = async (what, vertex, signal) => {
    if (what !== 'run' || vertex.step.name !== name) return
    reached.resolve()
    signal.addEventListener('abort', () => aborted.resolve())
    await go.promise
  }
  return { reached: reached.promise, go: () => go.resolve(), aborted: aborted.promise }
}
