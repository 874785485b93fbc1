import { badRequest } from '../../core/errors.ts'
import { Filters } from '../../wire/filters.ts'
import { parseSize } from '../../wire/sizes.ts'
import { parseDuration } from '../../wire/timestamps.ts'
import { pruneFilterKeys, readPruneFilters } from './filter.ts'
import type { PruneRule } from './prune.ts'

/** `builder.gc` of daemon.json: the rules by which the cache is kept within limits by itself. */

const hour = 3_600_000

/** Bytes of the disk that the cache lies on. */
export interface Disk {
  total: number
}

interface Limits {
  reservedSpace: number
  maxUsedSpace: number
  minFreeSpace: number
}

/** Docker's rounding: whole GiB, counted as GB, and one more. */
const percent = ({ total }: Disk, part: number): number =>
  (Math.floor(Math.floor((total * part) / 100) / 2 ** 30) + 1) * 1e9

const limitsOf = (given: Limits, disk: Disk | undefined): Limits => {
  if (given.reservedSpace > 0 || given.maxUsedSpace > 0 || given.minFreeSpace > 0) return given
  if (!disk) return { ...given, reservedSpace: 2e9 }
  return {
    reservedSpace: percent(disk, 10),
    maxUsedSpace: percent(disk, 80),
    minFreeSpace: percent(disk, 20),
  }
}

/** Of the reserved space, what is easily made again may have this part for a while: e·π·φ per cent, as Docker has it. */
const temporaryPercent = Math.E * Math.PI * ((1 + Math.sqrt(5)) / 2)

const easilyMade: readonly string[] = ['source.local', 'exec.cachemount', 'source.git.checkout']

/** Docker's own rules. */
export const defaultRules = (given: Limits, disk: Disk | undefined): PruneRule[] => {
  const limits = limitsOf(given, disk)
  const temporary = Math.round((limits.reservedSpace / 100) * temporaryPercent)
  return [
    {
      filter: ({ kind }) => easilyMade.includes(kind),
      keepDuration: 48 * hour,
      maxUsedSpace: Math.max(512e6, temporary),
    },
    { keepDuration: 60 * 24 * hour, ...limits },
    { ...limits },
    { all: true, ...limits },
  ]
}

/** JSON's fields are found by their names in any case, as Go finds them. */
const fieldsOf = (value: unknown, what: string): Map<string, unknown> => {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw badRequest(`${what} is not an object`)
  return new Map(Object.entries(value).map(([name, field]) => [name.toLowerCase(), field]))
}

const sizeField = (fields: ReadonlyMap<string, unknown>, names: readonly string[]): number => {
  for (const name of names) {
    const text = fields.get(name.toLowerCase())
    if (text === undefined || text === '') continue
    const size = typeof text === 'number' ? text : parseSize(String(text))
    if (size === undefined) throw badRequest(`failed to parse ${name}: invalid size: '${String(text)}'`)
    return size
  }
  return 0
}

/** `["type=regular"]`, or as `Filters.parse` takes them. */
const filtersOf = (value: unknown): Filters => {
  if (!Array.isArray(value)) return Filters.parse(value ? JSON.stringify(value) : undefined, pruneFilterKeys)
  const values: Record<string, string[]> = {}
  for (const text of value.map(String)) {
    const equals = text.indexOf('=')
    const name = (equals < 0 ? text : text.slice(0, equals)).trim().toLowerCase()
    values[name] = [...(values[name] ?? []), equals < 0 ? '' : text.slice(equals + 1).trim()]
  }
  return Filters.parse(JSON.stringify(values), pruneFilterKeys)
}

/** Seconds, or a duration. */
const durationOf = (value: unknown): number => {
  if (value === undefined) return 0
  const nanos = typeof value === 'number' ? undefined : parseDuration(String(value))
  if (typeof value === 'number') return value * 1000
  if (nanos === undefined) throw badRequest(`failed to parse keepDuration: '${String(value)}'`)
  return Number(nanos / 1_000_000n)
}

const ruleOf = (value: unknown, now: number): PruneRule => {
  const fields = fieldsOf(value, 'a rule of builder.gc.policy')
  const { filter, keepDuration } = readPruneFilters(filtersOf(fields.get('filter')), now)
  return {
    all: fields.get('all') === true,
    filter,
    keepDuration: Math.max(keepDuration, durationOf(fields.get('keepduration'))),
    reservedSpace: sizeField(fields, ['reservedSpace', 'keepStorage']),
    maxUsedSpace: sizeField(fields, ['maxUsedSpace']),
    minFreeSpace: sizeField(fields, ['minFreeSpace']),
  }
}

/**
 * Reads `builder.gc`; absent is Docker's default. Rules are tried in their order; none where it is switched off. Errors:
 * `bad-request` in Docker's words.
 */
export const readGcRules = (config: unknown, disk: Disk | undefined, now: number): PruneRule[] => {
  const fields = fieldsOf(config ?? {}, 'builder.gc')
  if (fields.get('enabled') === false) return []
  const policy = fields.get('policy')
  if (Array.isArray(policy)) return policy.map(rule => ruleOf(rule, now))
  const given = {
    reservedSpace: sizeField(fields, ['defaultReservedSpace', 'defaultKeepStorage']),
    maxUsedSpace: sizeField(fields, ['defaultMaxUsedSpace']),
    minFreeSpace: sizeField(fields, ['defaultMinFreeSpace']),
  }
  return defaultRules(given, disk)
}
