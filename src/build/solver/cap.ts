import { Leaves, sumOf } from './prune.ts'
import type { UsageRow } from './usage.ts'

/**
 * The cache never has more than a cap, while builds run, too: what is worth least goes.
 *
 * **Worth** is what a byte of a record saves: the time that making it took, and one second for all
 * that is around a step, as often as it was used, halved for each week that it was not. What no key
 * finds any more is worth nothing, and nothing is freed by what images have, too. A record that
 * others stand on goes after them.
 */

const week = 7 * 24 * 3_600_000

export const worthOf = (row: UsageRow, now: number): number => {
  if (!row.found) return 0
  const weeks = Math.max(0, now - row.lastUsedAt) / week
  const saved = (row.duration + 1000) * row.usageCount * 2 ** -weeks
  return saved / Math.max(1, row.size)
}

/** The place in an order, by halves. */
const placeOf = (worths: readonly number[], worth: number): number => {
  let [low, high] = [0, worths.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((worths[middle] ?? 0) < worth) low = middle + 1
    else high = middle
  }
  return low
}

/** What goes so that the rest has at most `cap` bytes, in its order; all that can go where that is not enough. */
export const chooseOverCap = (
  rows: readonly UsageRow[],
  { cap, now }: { cap: number; now: number },
): UsageRow[] => {
  const leaves = new Leaves(rows)
  let total = sumOf(rows)
  const open: UsageRow[] = []
  const worths: number[] = []
  const insert = (row: UsageRow): void => {
    if (row.shared) return
    const worth = worthOf(row, now)
    const place = placeOf(worths, worth)
    worths.splice(place, 0, worth)
    open.splice(place, 0, row)
  }
  for (const row of leaves.all()) insert(row)
  const going: UsageRow[] = []
  while (total > cap) {
    const row = open.shift()
    if (!row) break
    worths.shift()
    going.push(row)
    total -= row.size
    for (const freed of leaves.take(row)) insert(freed)
  }
  return going
}
