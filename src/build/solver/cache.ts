import { SerialQueue } from '../../core/queue.ts'
import type { CacheRecord, KeyDigest, Loss, ResultCache } from './types.ts'

/** Where records are kept, as the daemon's database keeps documents: by kind and id. */
export interface RecordStore {
  load(kind: string): Promise<{ id: string; value: unknown }[]>
  /** In one transaction. `value` undefined removes. Not durable: it survives the daemon's death, but no power cut. */
  write(
    puts: readonly { kind: string; id: string; value: unknown }[],
    options: { durable: boolean },
  ): Promise<void>
}

const recordKind = 'build-record'
/** When and how often a record was used: written often, and small. */
const useKind = 'build-use'
const lossKind = 'build-loss'

/** Keys beyond these that a record was linked to; the oldest goes. */
const mostLinks = 32
const mostLosses = 2000
/** Of the names of files that records keep, all together. */
const mostFileCharacters = 16 << 20

type Put = { kind: string; id: string; value: unknown }

const putOf = (record: CacheRecord): Put => ({ kind: recordKind, id: record.id, value: record })

/** What is remembered of a key whose record is gone. */
interface Past {
  loss: Loss
  chain: KeyDigest
}

type Use = Pick<CacheRecord, 'lastUsedAt' | 'usageCount'>

const usePut = ({ id, lastUsedAt, usageCount }: CacheRecord): Put => ({
  kind: useKind,
  id,
  value: { lastUsedAt, usageCount } satisfies Use,
})

const fileCharacters = ({ made }: CacheRecord): number =>
  (made?.inputs ?? []).reduce(
    (sum, { files = [] }) =>
      sum + files.reduce((within, [path, digest]) => within + path.length + digest.length, 0),
    0,
  )

const withoutFiles = (record: CacheRecord): CacheRecord =>
  record.made
    ? {
        ...record,
        made: { ...record.made, inputs: record.made.inputs.map(({ files: _, ...input }) => input) },
      }
    : record

/** Results by their keys, in memory and written through. What is changed is changed one after another. */
export class Cache implements ResultCache {
  readonly #store: RecordStore
  readonly #queue = new SerialQueue()
  readonly #records = new Map<string, CacheRecord>()
  readonly #byKey = new Map<KeyDigest, string>()
  readonly #losses = new Map<KeyDigest, Past>()
  readonly #holds = new Map<string, number>()
  /** How many records stand on one. */
  readonly #children = new Map<string, number>()
  /** Of how many inputs of records a key is the chain key. */
  readonly #bases = new Map<string, number>()
  /** In how many trees a snapshot is. */
  readonly #snapshots = new Map<string, number>()
  #fileCharacters = 0
  /** Records whose use is not written yet. */
  readonly #used = new Set<string>()

  private constructor(store: RecordStore) {
    this.#store = store
  }

  /** `isWhole`: whether a record's tree is there; those whose is not, after a crash, are dropped. */
  static async open(
    store: RecordStore,
    isWhole: (record: CacheRecord) => boolean | Promise<boolean>,
  ): Promise<Cache> {
    const cache = new Cache(store)
    for (const { id, value } of await store.load(lossKind)) cache.#losses.set(id as KeyDigest, value as Past)
    const uses = new Map((await store.load(useKind)).map(({ id, value }) => [id, value as Use]))
    const records = (await store.load(recordKind)).map(({ id, value }) => ({
      ...(value as CacheRecord),
      ...uses.get(id),
    }))
    const whole = await Promise.all(records.map(record => isWhole(record)))
    const there = records.filter((_, index) => whole[index]).sort((a, b) => a.createdAt - b.createdAt)
    for (const record of there) cache.#enter(record)
    const lost = records.filter((_, index) => !whole[index])
    if (lost.length > 0) await cache.#drop(lost, { loss: 'lost' })
    return cache
  }

  find(key: KeyDigest): CacheRecord | undefined {
    const id = this.#byKey.get(key)
    return id === undefined ? undefined : this.#records.get(id)
  }

  get(id: string): CacheRecord | undefined {
    return this.#records.get(id)
  }

  all(): IterableIterator<CacheRecord> {
    return this.#records.values()
  }

  loss(key: KeyDigest): Loss | undefined {
    return this.#losses.get(key)?.loss
  }

  pastChain(key: KeyDigest): KeyDigest | undefined {
    return this.#losses.get(key)?.chain
  }

  async link(id: string, keys: readonly KeyDigest[]): Promise<void> {
    await this.#queue.run(async () => {
      const record = this.#records.get(id)
      if (!record || keys.every(key => record.keys.includes(key))) return
      const [first, ...links] = [...new Set([...record.keys, ...keys])]
      const kept = [...(first ? [first] : []), ...links.slice(-mostLinks)]
      await this.#put({ ...record, keys: kept })
    })
  }

  async add(record: Omit<CacheRecord, 'lastUsedAt' | 'usageCount'>): Promise<void> {
    await this.#queue.run(() => this.#put({ ...record, lastUsedAt: record.createdAt, usageCount: 1 }))
  }

  async remove(ids: readonly string[], loss: Loss): Promise<string[]> {
    return await this.#queue.run(async () => {
      const going = this.#removable(ids)
      const staying = loss === 'lost' ? this.#withoutKeys(ids, going) : []
      const before = [...going, ...staying].flatMap(({ id }) => this.#records.get(id) ?? [])
      for (const record of before) this.#leave(record)
      for (const record of staying) this.#enter(record)
      try {
        await this.#drop(before, { loss, staying })
      } catch (error) {
        for (const record of staying) this.#leave(record)
        for (const record of before) this.#enter(record)
        throw error
      }
      return this.#unneeded(going)
    })
  }

  /** Those that cannot go, as they stay. */
  #withoutKeys(ids: readonly string[], going: readonly CacheRecord[]): CacheRecord[] {
    const gone = new Set(going.map(({ id }) => id))
    return ids
      .filter(id => !gone.has(id))
      .flatMap(id => this.#records.get(id) ?? [])
      .map(record => ({ ...record, keys: [] }))
  }

  /** Snapshots of theirs that no record has. */
  #unneeded(records: readonly CacheRecord[]): string[] {
    const layers = records.flatMap(({ tree }) => tree.layers)
    const ids = layers.flatMap(layer => (layer.kind === 'snapshot' ? [layer.id] : []))
    return [...new Set(ids)].filter(id => !this.#snapshots.has(id))
  }

  hold(id: string): Disposable {
    count(this.#holds, id, 1)
    let isHeld = true
    return {
      [Symbol.dispose]: () => {
        if (isHeld) count(this.#holds, id, -1)
        isHeld = false
      },
    }
  }

  isHeld(id: string): boolean {
    return this.#holds.has(id)
  }

  isBase(chain: KeyDigest): boolean {
    return this.#bases.has(chain)
  }

  hasSnapshot(id: string): boolean {
    return this.#snapshots.has(id)
  }

  /** How many records are held. */
  get held(): number {
    return this.#holds.size
  }

  used(id: string): void {
    const record = this.#records.get(id)
    if (!record) return
    this.#records.set(id, { ...record, lastUsedAt: Date.now(), usageCount: record.usageCount + 1 })
    this.#used.add(id)
    if (this.#used.size > 1) return
    // A lost note of use costs nothing but the order of pruning.
    this.#queue.run(() => this.#writeUses()).catch(() => {})
  }

  /** Resolves when all that was told is written. */
  async idle(): Promise<void> {
    await this.#queue.run(async () => {})
  }

  async #writeUses(): Promise<void> {
    const records = [...this.#used].flatMap(id => this.#records.get(id) ?? [])
    this.#used.clear()
    if (records.length > 0) await this.#store.write(records.map(usePut), { durable: false })
  }

  /** Those that may go, each after those that stand on it. */
  #removable(ids: readonly string[]): CacheRecord[] {
    const open = new Set(ids.filter(id => this.#records.has(id) && !this.#holds.has(id)))
    const children = new Map(this.#children)
    const going: CacheRecord[] = []
    for (let before = -1; before !== going.length; ) {
      before = going.length
      for (const id of open) {
        const record = this.#records.get(id)
        if (!record || children.has(id)) continue
        open.delete(id)
        going.push(record)
        for (const parent of record.parents) count(children, parent, -1)
      }
    }
    return going
  }

  /** Written first and found then; who had one of its keys loses it in the same transaction. */
  async #put(record: CacheRecord): Promise<void> {
    const displaced = [...new Set(record.keys.flatMap(key => this.#byKey.get(key) ?? []))]
      .filter(id => id !== record.id)
      .flatMap(id => this.#records.get(id) ?? [])
      .map(other => ({ ...other, keys: other.keys.filter(key => !record.keys.includes(key)) }))
    const found = record.keys.filter(key => this.#losses.has(key))
    await this.#store.write(
      [
        ...[...displaced, record].map(putOf),
        ...found.map(key => ({ kind: lossKind, id: key, value: undefined })),
      ],
      { durable: true },
    )
    for (const key of found) this.#losses.delete(key)
    for (const other of [...displaced, record]) {
      const before = this.#records.get(other.id)
      if (before) this.#leave(before)
      this.#enter(withUse(other, before))
    }
  }

  /** Forgets records, but for those that stay in another form, and notes what became of their keys. */
  async #drop(
    records: readonly CacheRecord[],
    { loss, staying = [] }: { loss: Loss; staying?: readonly CacheRecord[] },
  ): Promise<void> {
    const past = records.flatMap(record => pastOf(record, loss)).slice(-mostLosses)
    const tooMany = Math.max(0, this.#losses.size + past.length - mostLosses)
    const forgotten = [...this.#losses.keys()].slice(0, tooMany)
    await this.#store.write(
      [
        ...records.flatMap(({ id }) => [recordKind, useKind].map(kind => ({ kind, id, value: undefined }))),
        ...staying.map(putOf),
        ...forgotten.map(key => ({ kind: lossKind, id: key, value: undefined })),
        ...past.map(([id, value]) => ({ kind: lossKind, id, value })),
      ],
      { durable: true },
    )
    for (const key of forgotten) this.#losses.delete(key)
    for (const [key, value] of past) this.#losses.set(key, value)
  }

  #enter(record: CacheRecord): void {
    this.#fileCharacters += fileCharacters(record)
    this.#records.set(record.id, record)
    for (const key of record.keys) this.#byKey.set(key, record.id)
    this.#countParts(record, 1)
    if (this.#fileCharacters > mostFileCharacters) this.#forgetFiles()
  }

  /** Those of the records that came first. */
  #forgetFiles(): void {
    for (const record of this.#records.values()) {
      if (this.#fileCharacters <= mostFileCharacters) return
      const characters = fileCharacters(record)
      if (characters === 0) continue
      this.#fileCharacters -= characters
      this.#records.set(record.id, withoutFiles(record))
    }
  }

  #leave(record: CacheRecord): void {
    this.#fileCharacters -= fileCharacters(record)
    this.#records.delete(record.id)
    for (const key of record.keys) if (this.#byKey.get(key) === record.id) this.#byKey.delete(key)
    this.#countParts(record, -1)
  }

  #countParts({ parents, tree, made }: CacheRecord, by: 1 | -1): void {
    for (const { key } of made?.inputs ?? []) if (key !== undefined) count(this.#bases, key, by)
    for (const parent of parents) count(this.#children, parent, by)
    for (const layer of tree.layers) if (layer.kind === 'snapshot') count(this.#snapshots, layer.id, by)
  }
}

const pastOf = ({ keys, chain }: CacheRecord, loss: Loss): [KeyDigest, Past][] => {
  const [first] = keys
  return first ? keys.map(key => [key, { loss, chain: chain ?? first }]) : []
}

/** Uses that came while it was being written. */
const withUse = (record: CacheRecord, now: CacheRecord | undefined): CacheRecord =>
  now ? { ...record, lastUsedAt: now.lastUsedAt, usageCount: now.usageCount } : record

const count = (counts: Map<string, number>, id: string, by: 1 | -1): void => {
  const next = (counts.get(id) ?? 0) + by
  if (next === 0) counts.delete(id)
  else counts.set(id, next)
}
