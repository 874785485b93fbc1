import type { CacheRecord, KeyDigest, RecordKind } from './types.ts'

/** What the cache holds, as `docker builder du` shows it. Times in milliseconds since the epoch. */
export interface UsageRow {
  id: string
  kind: RecordKind
  description: string
  parents: string[]
  /** A build has it, or something that stands on it. */
  inUse: boolean
  /** A build has it itself. */
  held: boolean
  /** An image has its layers, too: nothing is freed where it goes. */
  shared: boolean
  mutable: boolean
  /** Bytes of its own, without those that it stands on. */
  size: number
  createdAt: number
  lastUsedAt: number
  usageCount: number
  /** Milliseconds that making it took. */
  duration: number
  /** Some key finds it. */
  found: boolean
}

export interface Usage {
  records: Iterable<CacheRecord>
  isHeld(id: string): boolean
  /** Bytes on disk of a record's own layers; 0 where not known. */
  sizeOf(record: CacheRecord): number
  /** Whether an image has the record's layers. */
  isShared(record: CacheRecord): boolean
}

/** Ids and all that they stand on. */
const withParents = (ids: Iterable<string>, records: ReadonlyMap<string, CacheRecord>): Set<string> => {
  const all = new Set<string>()
  const open = [...ids]
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    if (all.has(id)) continue
    all.add(id)
    open.push(...(records.get(id)?.parents ?? []))
  }
  return all
}

/** One row a record, the last used first. */
export const usageOf = ({ records, isHeld, sizeOf, isShared }: Usage): UsageRow[] => {
  const byId = new Map([...records].map(record => [record.id, record]))
  const all = [...byId.values()]
  const held = new Set(all.flatMap(({ id }) => (isHeld(id) ? [id] : [])))
  const inUse = withParents(held, byId)
  const shared = withParents(
    all.filter(record => isShared(record)).map(({ id }) => id),
    byId,
  )
  return all
    .map(record => ({
      ...fieldsOf(record),
      inUse: inUse.has(record.id),
      held: held.has(record.id),
      shared: shared.has(record.id),
      size: sizeOf(record),
    }))
    .sort((a, b) => b.lastUsedAt - a.lastUsedAt)
}

const fieldsOf = (record: CacheRecord): Omit<UsageRow, 'inUse' | 'held' | 'shared' | 'size'> => {
  const { id, kind, description, parents, mutable = false, createdAt, lastUsedAt } = record
  const { usageCount, duration, keys } = record
  const found = keys.length > 0 || isNoResult(kind, keys)
  return { id, kind, description, parents, mutable, createdAt, lastUsedAt, usageCount, duration, found }
}

/** Cache mounts and such are found by their names. */
const isNoResult = (kind: RecordKind, keys: readonly KeyDigest[]): boolean =>
  keys.length === 0 && kind !== 'regular'

/** Sums as `docker system df` tells them. Bytes. */
export const sumsOf = (
  rows: readonly UsageRow[],
): { totalSize: number; totalCount: number; activeCount: number; reclaimable: number } => ({
  totalSize: rows.reduce((sum, { size }) => sum + size, 0),
  totalCount: rows.length,
  activeCount: rows.filter(({ inUse }) => inUse).length,
  reclaimable: rows.reduce((sum, { inUse, shared, size }) => sum + (inUse || shared ? 0 : size), 0),
})
