import { resultKey } from './keys.ts'
import { type Hold, holdOfRecords, type Outcome } from './outcome.ts'
import type { CacheRecord, ImportedResults, KeyDigest, ResultCache, StepRunner } from './types.ts'

/** Finds results by their keys. */

/** By index of the result. */
export type Found = ReadonlyMap<number, CacheRecord>

interface Place {
  runner: StepRunner
  cache: ResultCache
}

/** What is found of these results of a vertex, here or among those of other builders; undefined where one is missing. */
export const resultsUnder = <T extends {}>(
  source: { find(key: KeyDigest): T | undefined },
  key: KeyDigest,
  wanted: readonly number[],
): ReadonlyMap<number, T> | undefined => {
  const found = new Map<number, T>()
  for (const index of wanted) {
    const result = source.find(resultKey(key, index))
    if (result) found.set(index, result)
  }
  return found.size === wanted.length ? found : undefined
}

/** What results that were there once, or are elsewhere, counted by, by index; undefined where one is not known. */
export const pastChains = (
  { cache, imported }: { cache: ResultCache; imported: ImportedResults | undefined },
  key: KeyDigest,
  wanted: readonly number[],
): KeyDigest[] | undefined => {
  const chains: KeyDigest[] = []
  for (const index of wanted) {
    const own = resultKey(key, index)
    const chain = cache.pastChain(own) ?? imported?.chain(own)
    if (chain === undefined) return undefined
    chains[index] = chain
  }
  return chains
}

export const outcomeOf = (cache: ResultCache, found: Found): Outcome => {
  const trees: CacheRecord['tree'][] = []
  const chains: (KeyDigest | undefined)[] = []
  const records: string[] = []
  for (const [index, { id, tree, chain, keys }] of found) {
    trees[index] = tree
    chains[index] = chain ?? keys[0]
    records[index] = id
  }
  const ids = [...found.values()].map(({ id }) => id)
  return { trees, chains, records, hold: () => holdOfRecords(cache, ids) }
}

/** The same where all of the trees are there; records of others are lost, and found no more. */
export const wholeUnder = async (
  { runner, cache }: Place,
  key: KeyDigest,
  wanted: readonly number[],
): Promise<{ outcome: Outcome; hold: Hold } | undefined> => {
  const found = resultsUnder(cache, key, wanted)
  if (!found) return undefined
  const outcome = outcomeOf(cache, found)
  const hold = outcome.hold()
  const records = [...found.values()]
  const whole = await Promise.all(records.map(({ tree }) => runner.isWhole(tree)))
  if (whole.every(Boolean)) return { outcome, hold }
  await hold.release()
  const lost = records.filter((_, index) => !whole[index])
  const left = await cache.remove(
    lost.map(({ id }) => id),
    'lost',
  )
  await runner.discard(left.map(id => ({ kind: 'snapshot', id })))
  return undefined
}
