import { SerialQueue } from '../../core/queue.ts'
import { chooseOverCap } from './cap.ts'
import { chooseByRules, choosePruned, type PruneRule, type PruneState, sumOf } from './prune.ts'
import type { CacheRecord, LayerRef, ResultCache } from './types.ts'
import { type UsageRow, usageOf } from './usage.ts'

/** Removes records: those that somebody wants gone, and those that are too many. */

/** What is outside of the cache. */
export interface Place {
  cache: ResultCache
  /** Bytes on disk of layers that are kept for records alone, by `keptId`. */
  layerSizes(): Promise<ReadonlyMap<string, number>>
  /** Tells whether an image has a record's layers, as things are now. */
  sharing(): (record: CacheRecord) => boolean
  /** Free bytes of the disk. */
  free(): Promise<number>
  /** Snapshots that no record has any more. */
  removeSnapshots(ids: readonly string[]): Promise<void>
  /** What is kept from one build to the next and is no result: cache mounts, folders of clients. */
  others(): Promise<UsageRow[]>
  /** Gives the ids of those that went: somebody may have taken one meanwhile. */
  removeOthers(ids: readonly string[]): Promise<string[]>
}

export interface CollectorOptions extends Place {
  rules: readonly PruneRule[]
  /** Bytes that the cache never exceeds for longer than it takes to remove something. */
  cap: number
}

/** Of a layer that is there because of the cache; none of those of base images. */
const keptId = (layer: LayerRef): string | undefined =>
  layer.kind === 'snapshot' ? layer.id : layer.origin && layer.diffId

const keptIds = ({ tree }: CacheRecord): string[] => tree.layers.flatMap(layer => keptId(layer) ?? [])

/** A record's own layers: those that its parents' trees have not. */
const ownLayers = (record: CacheRecord, cache: ResultCache): string[] => {
  const parents = record.parents.flatMap(id => cache.get(id) ?? [])
  const below = new Set(parents.flatMap(keptIds))
  return keptIds(record).filter(id => !below.has(id))
}

/** What the cache holds, as it is now. */
export const usageNow = async ({ cache, layerSizes, sharing, others }: Place): Promise<UsageRow[]> => {
  const sizes = await layerSizes()
  const records = usageOf({
    records: cache.all(),
    isHeld: id => cache.isHeld(id),
    isShared: sharing(),
    sizeOf: record => ownLayers(record, cache).reduce((sum, id) => sum + (sizes.get(id) ?? 0), 0),
  })
  return [...records, ...(await others())].sort((a, b) => b.lastUsedAt - a.lastUsedAt)
}

/** Milliseconds for which what was added tells enough; what else has grown is looked at then. */
const trusted = 10_000

export class Collector {
  readonly #options: CollectorOptions
  /** What is removed is chosen by what there is then: one after another. */
  readonly #queue = new SerialQueue()
  #isAsked = false
  /** Bytes of the last look at all there is, and those of records that came since. */
  #total = Number.POSITIVE_INFINITY
  #added = 0
  #lookedAt = 0

  constructor(options: CollectorOptions) {
    this.#options = options
  }

  /** `POST /build/prune`: gives what went. */
  prune(rule: PruneRule): Promise<UsageRow[]> {
    return this.#remove((rows, state) => choosePruned(rows, rule, state))
  }

  /** To be told of each new record and its bytes: the cap holds while builds run. Errors: those of removing. */
  async recorded(bytes: number): Promise<void> {
    this.#added += bytes
    const { cap } = this.#options
    if (this.#total + this.#added <= cap && Date.now() - this.#lookedAt < trusted) return
    await this.#once(() => this.#remove((rows, { now }) => chooseOverCap(rows, { cap, now })))
  }

  /** By the rules, and the cap. To be called when builds have ended: where one has left nothing new it does nothing. */
  async collect(): Promise<void> {
    const { rules, cap } = this.#options
    const isNew = this.#added > 0 || this.#total > cap
    if (!isNew && Date.now() - this.#lookedAt < trusted) return
    await this.#remove((rows, state) => {
      const chosen = new Set(chooseByRules(rows, rules, state))
      const left = rows.filter(row => !chosen.has(row))
      return [...chosen, ...chooseOverCap(left, { cap, now: state.now })]
    })
  }

  /** Of several at once, one is enough. */
  async #once(work: () => Promise<unknown>): Promise<void> {
    if (this.#isAsked) return
    this.#isAsked = true
    await this.#queue.run(async () => {
      this.#isAsked = false
    })
    await work()
  }

  #remove(choose: (rows: UsageRow[], state: PruneState) => UsageRow[]): Promise<UsageRow[]> {
    return this.#queue.run(async () => {
      const { cache, free, removeSnapshots, removeOthers } = this.#options
      const [now, added] = [Date.now(), this.#added]
      const rows = await usageNow(this.#options)
      const chosen = choose(rows, { now: Date.now(), free: await free() })
      // Only now: a look that failed tells nothing.
      this.#added -= added
      this.#lookedAt = now
      this.#total = sumOf(rows)
      if (chosen.length === 0) return []
      const [records, others] = [
        chosen.filter(({ id }) => cache.get(id)),
        chosen.filter(({ id }) => !cache.get(id)),
      ]
      const left = await cache.remove(
        records.map(({ id }) => id),
        'pruned',
      )
      await removeSnapshots(left)
      const gone = new Set(await removeOthers(others.map(({ id }) => id)))
      // A build may have taken some of them since they were chosen.
      const removed = chosen.filter(row => (records.includes(row) ? !cache.get(row.id) : gone.has(row.id)))
      this.#total -= sumOf(removed)
      return removed
    })
  }
}
