import { nowNanos, parseTime } from '../../core/clock.ts'
import { badRequest } from '../../core/errors.ts'
import { parseDuration } from '../../wire/timestamps.ts'
import { readFields } from '../dockerfile/fields.ts'
import { type BuildRecord, type OpenRecord, statusOf } from './types.ts'

/**
 * Filters of records, as BuildKit's clients write them (solver/llbsolver/history/filter.go): fields that commas part, all
 * of which are to hold: `status==error`, `ref~=abc`, `repository!=…`, `startedAt>=1h`, `duration<30s`. Of several filters
 * one is to hold. `~=` is a regular expression there; clients send it what is to be contained, and so it is read here.
 */

type AnyRecord = BuildRecord | OpenRecord
export type RecordFilter = (record: AnyRecord) => boolean

const nanosOf = (text: string | undefined): bigint => parseTime(text ?? '') ?? 0n

/** The repository of a context is before its fragment. */
const repositoryOf = ({ attributes }: AnyRecord): string | undefined => {
  const source = attributes['vcs:source']
  if (source !== undefined) return source
  const context = attributes['context'] ?? ''
  return /^(?:https?|ssh|git):\/\/|^[^/]+@[^/]+:/.test(context) ? context.replace(/#.*$/, '') : undefined
}

const texts = new Map<string, (record: AnyRecord) => string | undefined>([
  ['ref', ({ ref }) => ref],
  ['status', statusOf],
  ['repository', repositoryOf],
])

const completedAt = (record: AnyRecord): bigint =>
  'completedAt' in record ? nanosOf(record.completedAt) : 0n

const amounts = new Map<string, (record: AnyRecord) => bigint>([
  ['startedAt', ({ createdAt }) => nanosOf(createdAt)],
  ['completedAt', completedAt],
  [
    'duration',
    record => ('completedAt' in record ? nanosOf(record.completedAt) - nanosOf(record.createdAt) : 0n),
  ],
])

const comparisons = new Map<string, (value: bigint, limit: bigint) => boolean>([
  ['>=', (value, limit) => value >= limit],
  ['<=', (value, limit) => value <= limit],
  ['>', (value, limit) => value > limit],
  ['<', (value, limit) => value < limit],
])

const limitOf = (name: string, text: string): bigint => {
  const duration = parseDuration(text)
  if (name === 'duration' && duration === undefined) throw badRequest(`invalid duration ${text}`)
  if (duration !== undefined) return name === 'duration' ? duration : nowNanos() - duration
  const time = parseTime(text)
  if (time === undefined) throw badRequest(`invalid time ${text}`)
  return time
}

/** A value may be quoted. */
const plain = (text: string): string => {
  if (!/^"(?:[^"\\]|\\.)*"$/.test(text)) return text
  return text.slice(1, -1).replaceAll(/\\(.)/g, '$1')
}

const fieldFilter = (field: string): RecordFilter => {
  const [, name = '', operator = '', text = ''] = /^(\w+)(==|!=|~=|>=|<=|>|<)(.*)$/s.exec(field.trim()) ?? []
  const [textOf, amountOf, compare] = [texts.get(name), amounts.get(name), comparisons.get(operator)]
  if (amountOf && compare) {
    const limit = limitOf(name, text)
    return record => compare(amountOf(record), limit)
  }
  if (!textOf || compare || operator === '')
    throw badRequest(`failed to parse history filters ${JSON.stringify(field)}`)
  const wanted = plain(text)
  if (operator === '~=') return record => textOf(record)?.includes(wanted) ?? false
  return record => (textOf(record) === wanted) === (operator === '==')
}

/** Errors: `bad-request` for what is none. */
export const recordFilter = (filters: readonly string[]): RecordFilter => {
  const all = filters.map(text => readFields(text).map(fieldFilter))
  return record => all.length === 0 || all.some(fields => fields.every(holds => holds(record)))
}
