import { newId } from '../../core/ids.ts'
import type { SerialQueue } from '../../core/queue.ts'
import { type Found, outcomeOf, resultsUnder } from './lookup.ts'
import type { Node } from './nodes.ts'
import { type Hold, holdOfRecords, type Outcome } from './outcome.ts'
import { partsOf } from './parts.ts'
import { inputParts } from './plan.ts'
import { parentsOf } from './runStep.ts'
import type { CacheRecord, ImportedResult, ImportedResults, KeyDigest, ResultCache } from './types.ts'

/** Results of other builders become records when a build finds one: what stands on them is found without that cache, too. */

export interface Adopting {
  cache: ResultCache
  imported: ImportedResults
  /** One at a time: two builds may find the same. */
  adoptions: SerialQueue
  adopted(ids: readonly string[]): void
}

/** What a step takes, as far as it is known when it is looked for. */
export interface KnownInput {
  outcome: Outcome | undefined
  chain: KeyDigest | undefined
}

const recordOf = (
  { vertex, inputs, ...node }: Node,
  { description, tree, keys, chain, createdAt, duration }: ImportedResult,
  known: readonly KnownInput[],
): Omit<CacheRecord, 'lastUsedAt' | 'usageCount'> => {
  const standing = inputs.flatMap(({ index }, number) => {
    const outcome = known[number]?.outcome
    return outcome ? [{ outcome, index }] : []
  })
  const sights = inputs.map((_, number) => ({ chain: known[number]?.chain }))
  return {
    id: newId(),
    kind: 'regular',
    ...{ description, tree, createdAt, duration, chain },
    keys: [...keys],
    parents: [...new Set(parentsOf(tree, standing))],
    made: partsOf(vertex, inputParts({ vertex, inputs, ...node }, sights)),
  }
}

const heldOf = (cache: ResultCache, found: Found): { outcome: Outcome; hold: Hold } => {
  const outcome = outcomeOf(cache, found)
  return { outcome, hold: outcome.hold() }
}

/** Held, as it may not stay: what nobody's layers came of goes when the build ends. Undefined where nothing is found. */
export const adopt = async (
  { cache, imported, adoptions, adopted }: Adopting,
  node: Node,
  { key, inputs }: { key: KeyDigest; inputs: readonly KnownInput[] },
): Promise<{ outcome: Outcome; hold: Hold } | undefined> => {
  const found = resultsUnder(imported, key, node.wanted)
  if (!found) return undefined
  return await adoptions.run(async () => {
    const known = resultsUnder(cache, key, node.wanted)
    if (known) return heldOf(cache, known)
    const records = [...found.values()].map(result => recordOf(node, result, inputs))
    const ids = records.map(({ id }) => id)
    // Before there is something to find, which could be pruned at once.
    const hold = holdOfRecords(cache, ids)
    try {
      for (const record of records) await cache.add(record)
      const added = resultsUnder(cache, key, node.wanted)
      return added && heldOf(cache, added)
    } finally {
      adopted(ids)
      await hold.release()
    }
  })
}
