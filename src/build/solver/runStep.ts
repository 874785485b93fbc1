import { internal, messageOf } from '../../core/errors.ts'
import { newId } from '../../core/ids.ts'
import type { Vertex } from '../graph/types.ts'
import type { Flight } from './flights.ts'
import { anewChain, resultKey } from './keys.ts'
import { type Hold, holdOfRecords, holdsOfUnrecorded, type Outcome } from './outcome.ts'
import type { Turns } from './turns.ts'
import type {
  CacheRecord,
  KeyDigest,
  KeyParts,
  LayerRef,
  ResultCache,
  StepRunner,
  Tree,
  Work,
} from './types.ts'
import { whyRun } from './why.ts'

/** One step that is not there yet: its turn, its run, its record. */

export interface Doing {
  runner: StepRunner
  cache: ResultCache
  turns: Turns
  /** What is new on the disk. */
  recorded(layers: readonly LayerRef[]): void
  /** Records are there whose layers may not be. */
  adopted(ids: readonly string[]): void
}

export interface Step {
  vertex: Vertex
  /** What it takes, with the index of the result. */
  inputs: { outcome: Outcome; index: number }[]
  /** That by content first, where there is one; none where nothing is to be found again. */
  keys: KeyDigest[]
  made: KeyParts | undefined
}

const ignoresCache = ({ step }: Vertex): boolean => step.ignoreCache ?? false

/** As `docker buildx du` shows it. */
const descriptionOf = ({ operation, step }: Vertex, index: number): string => {
  if (operation.kind === 'http') return `http url ${operation.url}`
  if (operation.kind === 'git') return `git snapshot for ${operation.remote}#${operation.ref}`
  if (operation.kind === 'local') return `local source for ${operation.name}`
  if (operation.kind !== 'exec') return step.name
  const mount = operation.mounts.find(one => one.kind === 'bind' && one.output === index)
  return `mount ${mount?.target ?? '/'} from exec ${operation.args.join(' ')}`
}

export const treeOf = ({ trees }: Outcome, index: number): Tree => {
  const tree = trees[index]
  if (!tree) throw internal(`a step gave no result ${index}`)
  return tree
}

const layerId = (layer: LayerRef): string => (layer.kind === 'snapshot' ? layer.id : layer.diffId)

type Snapshot = Extract<LayerRef, { kind: 'snapshot' }>

/** What the step itself has made of its results. */
const ownLayers = (trees: readonly Tree[], { inputs }: Step): Snapshot[] => {
  const given = new Set(
    inputs.flatMap(({ outcome, index }) => outcome.trees[index]?.layers.map(layerId) ?? []),
  )
  return trees
    .flatMap(({ layers }) => layers)
    .filter(layer => layer.kind === 'snapshot')
    .filter(({ id }) => !given.has(id))
}

/** Records that a tree stands on: those whose last layer is in it. */
export const parentsOf = (tree: Tree, inputs: Step['inputs']): string[] => {
  const layers = new Set(tree.layers.map(layerId))
  return inputs.flatMap(({ outcome, index }) => {
    const last = outcome.trees[index]?.layers.at(-1)
    const id = outcome.records[index]
    if (!last || id === undefined) return []
    return layers.has(layerId(last)) ? [id] : []
  })
}

type NewRecord = Omit<CacheRecord, 'lastUsedAt' | 'usageCount'>

const recordsOf = (step: Step, trees: readonly Tree[], duration: number): NewRecord[] => {
  const { vertex, inputs, keys, made } = step
  return trees.map((tree, index) => {
    const id = newId()
    const [first] = keys
    return {
      id,
      kind: vertex.operation.kind === 'local' ? 'source.local' : 'regular',
      description: descriptionOf(vertex, index),
      tree,
      keys: keys.map(key => resultKey(key, index)),
      // What stands on an older result of this step must not be found by the new one.
      ...(ignoresCache(vertex) && first ? { chain: anewChain(resultKey(first, index), id) } : {}),
      parents: [...new Set(parentsOf(tree, inputs))],
      createdAt: Date.now(),
      duration,
      ...(made ? { made } : {}),
    }
  })
}

interface Held {
  outcome: Outcome
  held: Hold
}

/** Keeps what a step made, held; what cannot be kept is removed. */
export const recordMade = async (doing: Doing, step: Step, { trees, duration }: Made): Promise<Held> => {
  const { runner, cache } = doing
  if (step.keys.length === 0) {
    const hold = holdsOfUnrecorded(() =>
      runner.discard(ownLayers(trees, step).filter(({ id }) => !cache.hasSnapshot(id))),
    )
    return { outcome: { trees, chains: [], records: [], hold }, held: hold() }
  }
  const records = recordsOf(step, trees, duration)
  const ids = records.map(({ id }) => id)
  const hold = (): Hold => holdOfRecords(cache, ids)
  // Before there is something to find, which could be pruned at once.
  const held = hold()
  for (const [index, one] of records.entries())
    await cache.add(one).catch(async (error: unknown) => {
      await held.release()
      await runner.discard(ownLayers(trees.slice(index), step))
      throw error
    })
  doing.recorded(ownLayers(trees, step))
  const chains = records.map(({ chain, keys }) => chain ?? keys[0])
  return { outcome: { trees, chains, records: ids, hold }, held }
}

interface Made {
  trees: Tree[]
  /** Milliseconds. */
  duration: number
}

const make = async (doing: Doing, step: Step, flight: Flight): Promise<Made> => {
  const { vertex } = step
  const { signal, report } = flight
  const work: Work = { vertex, report, signal, builds: () => flight.builds() }
  const inputs = step.inputs.map(({ outcome, index }, input) => ({
    tree: treeOf(outcome, index),
    report: flight.inputReport(input),
  }))
  const begun = performance.now()
  const trees = await doing.runner.run(work, inputs)
  return { trees, duration: performance.now() - begun }
}

/** All who wait for a flight go on in the turn of the loop in which it ends, and hold what they need by then. */
export const releaseSoon = (hold: Hold): void => {
  setImmediate(() => void hold.release().catch(() => {}))
}

const tellCauses = ({ cache }: Doing, { vertex, keys, made }: Step, flight: Flight): void => {
  if (!made) return
  const loss = keys.map(key => cache.loss(key)).find(Boolean)
  flight.report.causes(whyRun({ made, ignoreCache: ignoresCache(vertex), loss }, cache.all()))
}

/** Errors: those of the step, of the cache, the signal's reason. */
export const runStep = async (doing: Doing, step: Step, flight: Flight): Promise<Outcome> => {
  const { report, signal } = flight
  try {
    const { outcome, held } = await withInputs(doing, step, flight)
    releaseSoon(held)
    report.ended('done')
    return outcome
  } catch (error) {
    report.ended(signal.aborted ? 'cancelled' : 'failed', messageOf(error))
    throw error
  }
}

/** Files that come from afar want neither processor nor disk: nobody waits for them, nor they for anybody. */
const takesTurn = ({ operation }: Vertex): boolean => operation.kind === 'exec' || operation.kind === 'file'

const enter = ({ turns }: Doing, { builds, signal }: Flight): Promise<Disposable> =>
  turns.enter(builds()[0]?.id ?? '', signal)

/** What it takes stays there while it runs, whoever has gone by then. */
const withInputs = async (doing: Doing, step: Step, flight: Flight): Promise<Held> => {
  const inputs = step.inputs.map(({ outcome }) => outcome.hold())
  try {
    using _turn = takesTurn(step.vertex) ? await enter(doing, flight) : undefined
    tellCauses(doing, step, flight)
    flight.report.started()
    return await recordMade(doing, step, await make(doing, step, flight))
  } finally {
    for (const hold of inputs) await hold.release()
  }
}
