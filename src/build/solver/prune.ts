import type { RowFilter } from './filter.ts'
import type { UsageRow } from './usage.ts'

/**
 * Which records go, as BuildKit chooses them (cache/manager.go): none that a build has, none that
 * another stands on that stays, and where there is a limit, those least and longest ago used first.
 */
export interface PruneRule {
  /** Internal records, and those whose layers an image has, too. */
  all?: boolean
  filter?: RowFilter
  /** Milliseconds; what was used since stays. */
  keepDuration?: number
  /** Bytes that the cache may have in any case. */
  reservedSpace?: number
  /** Bytes that it may have at most. */
  maxUsedSpace?: number
  /** Bytes of the disk that are to be free. */
  minFreeSpace?: number
}

export interface PruneState {
  /** Milliseconds since the epoch. */
  now: number
  /** Free bytes of the disk. */
  free: number
}

/** Bytes that may stay; undefined where there is no limit and all goes. */
const keptBytes = (rule: PruneRule, total: number, free: number): number | undefined => {
  const { reservedSpace = 0, maxUsedSpace = 0, minFreeSpace = 0 } = rule
  if (reservedSpace === 0 && maxUsedSpace === 0 && minFreeSpace === 0) return undefined
  const excess = minFreeSpace - free
  let kept = maxUsedSpace
  if (excess > 0) kept = kept === 0 ? total - excess : Math.min(kept, total - excess)
  else if (minFreeSpace !== 0 && kept === 0) kept = total
  kept = Math.max(kept, reservedSpace)
  return kept === 0 ? undefined : kept
}

/** Places in an order, equal values the same, from above 0 to 1. */
const placesOf = (values: readonly number[]): Map<number, number> => {
  const distinct = [...new Set(values)].sort((a, b) => a - b)
  return new Map(distinct.map((value, index) => [value, (index + 1) / distinct.length]))
}

/** How long ago and how often they were used counts alike; the first to go first. */
const byUse = (rows: readonly UsageRow[]): UsageRow[] => {
  const times = placesOf(rows.map(({ lastUsedAt }) => lastUsedAt))
  const counts = placesOf(rows.map(({ usageCount }) => usageCount))
  const place = ({ lastUsedAt, usageCount }: UsageRow): number =>
    (times.get(lastUsedAt) ?? 0) + (counts.get(usageCount) ?? 0)
  return rows.toSorted((a, b) => place(a) - place(b))
}

/** Rows of which nothing stands on any other that stays; taking one may free those that it stands on. */
export class Leaves {
  readonly #rows: Map<string, UsageRow>
  readonly #children = new Map<string, number>()

  constructor(rows: readonly UsageRow[]) {
    this.#rows = new Map(rows.map(row => [row.id, row]))
    for (const { parents } of rows)
      for (const parent of parents) this.#children.set(parent, (this.#children.get(parent) ?? 0) + 1)
  }

  all(): UsageRow[] {
    return [...this.#rows.values()].filter(({ id, held }) => !held && !this.#children.has(id))
  }

  /** Gives what has become free by it. */
  take({ id, parents }: UsageRow): UsageRow[] {
    this.#rows.delete(id)
    return parents.flatMap(parent => {
      const left = (this.#children.get(parent) ?? 1) - 1
      if (left > 0) this.#children.set(parent, left)
      else this.#children.delete(parent)
      const row = this.#rows.get(parent)
      return left > 0 || !row || row.held ? [] : [row]
    })
  }
}

const mayGo = (row: UsageRow, rule: PruneRule, now: number): boolean => {
  const { all = false, filter, keepDuration = 0 } = rule
  const isInner = row.kind === 'internal' || row.kind === 'frontend' || row.shared
  if (!all && isInner) return false
  if (keepDuration > 0 && row.lastUsedAt > now - keepDuration) return false
  // Nobody has it: that something stands on it which stays is settled elsewhere.
  return filter?.({ ...row, inUse: false }) ?? true
}

/** Bytes that are freed where it goes. */
export const freedBy = ({ shared, size }: UsageRow): number => (shared ? 0 : size)

export const sumOf = (rows: readonly UsageRow[]): number => rows.reduce((sum, row) => sum + freedBy(row), 0)

/** The records that go by one rule, in their order. */
export const choosePruned = (
  rows: readonly UsageRow[],
  rule: PruneRule,
  { now, free }: PruneState,
): UsageRow[] => {
  let total = sumOf(rows)
  const kept = keptBytes(rule, total, free)
  const leaves = new Leaves(rows)
  const going: UsageRow[] = []
  let open = leaves.all().filter(row => mayGo(row, rule, now))
  let isSorted = false
  const isEnough = (): boolean => kept !== undefined && total <= kept
  while (open.length > 0 && !isEnough()) {
    if (!isSorted && kept !== undefined) open = byUse(open)
    isSorted = true
    const [row] = open.splice(0, 1)
    if (!row) break
    going.push(row)
    total -= freedBy(row)
    const freed = leaves.take(row).filter(parent => mayGo(parent, rule, now))
    if (freed.length > 0) {
      open.push(...freed)
      isSorted = false
    }
  }
  return going
}

/** Those that go by several rules, one after the other. */
export const chooseByRules = (
  rows: readonly UsageRow[],
  rules: readonly PruneRule[],
  { now, free }: PruneState,
): UsageRow[] => {
  const going: UsageRow[] = []
  let left = [...rows]
  let freeNow = free
  for (const rule of rules) {
    const chosen = choosePruned(left, rule, { now, free: freeNow })
    going.push(...chosen)
    const gone = new Set(chosen)
    left = left.filter(row => !gone.has(row))
    freeNow += sumOf(chosen)
  }
  return going
}
