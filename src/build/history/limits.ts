import { badRequest } from '../../core/errors.ts'
import { parseSize } from '../../wire/sizes.ts'
import { parseDuration } from '../../wire/timestamps.ts'

/** `builder.history` of daemon.json: how much is kept of builds that have been. */
export interface HistoryLimits {
  /** Records beyond these go when they are older than `maxAge`, too; those that are pinned are not counted. */
  maxEntries: number
  /** Milliseconds. */
  maxAge: number
  /** Of all records with their logs; the oldest go, however young. */
  maxBytes: number
}

/** BuildKit's; the last one is our own. */
export const defaultLimits: HistoryLimits = {
  maxEntries: 50,
  maxAge: 48 * 3_600_000,
  maxBytes: 256 << 20,
}

/** However young and small they are: each is looked at when the daemon starts. */
export const mostRecords = 10_000

const ageOf = (value: unknown): number => {
  if (typeof value === 'number' || /^\d+$/.test(String(value))) return Number(value) * 1000
  const nanos = parseDuration(String(value))
  if (nanos === undefined)
    throw badRequest(`builder.history.maxAge is neither seconds nor a duration: '${String(value)}'`)
  return Number(nanos / 1_000_000n)
}

const countOf = (value: unknown): number => {
  const count = Number(value)
  if (!Number.isSafeInteger(count) || count < 0)
    throw badRequest(`builder.history.maxEntries is not a number of records: '${String(value)}'`)
  return count
}

const sizeOf = (value: unknown): number => {
  const size = typeof value === 'number' ? value : parseSize(String(value))
  if (size === undefined || size < 0)
    throw badRequest(`builder.history.maxBytes is not a size: '${String(value)}'`)
  return size
}

/** As dockerd reads it: of the first two, one that is not given where the other is, is 0. Errors: `bad-request` that names the field. */
export const readHistoryLimits = (value: unknown): HistoryLimits => {
  if (value === undefined || value === null) return defaultLimits
  if (typeof value !== 'object' || Array.isArray(value)) throw badRequest('builder.history is not an object')
  const fields = new Map(Object.entries(value).map(([name, field]) => [name.toLowerCase(), field as unknown]))
  const [age, entries, bytes] = ['maxage', 'maxentries', 'maxbytes'].map(name => fields.get(name))
  const isGiven = age !== undefined || entries !== undefined
  return {
    maxAge: age === undefined ? (isGiven ? 0 : defaultLimits.maxAge) : ageOf(age),
    maxEntries: entries === undefined ? (isGiven ? 0 : defaultLimits.maxEntries) : countOf(entries),
    maxBytes: bytes === undefined ? defaultLimits.maxBytes : sizeOf(bytes),
  }
}

/** What limits are held against. */
export interface Kept {
  /** Milliseconds since the epoch. */
  completedAt: number
  pinned: boolean
  bytes: number
}

/** What goes, of records in any order. */
export const surplus = <T extends Kept>(
  records: readonly T[],
  { maxEntries, maxAge, maxBytes }: HistoryLimits,
  now: number,
): T[] => {
  const loose = records.filter(({ pinned }) => !pinned).sort((a, b) => b.completedAt - a.completedAt)
  let room = maxBytes - records.reduce((sum, { pinned, bytes }) => sum + (pinned ? bytes : 0), 0)
  return loose.filter(({ completedAt, bytes }, index) => {
    room -= bytes
    return (
      (index >= maxEntries && completedAt < now - maxAge) || (index > 0 && room < 0) || index >= mostRecords
    )
  })
}
