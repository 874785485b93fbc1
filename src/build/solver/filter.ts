import { badRequest } from '../../core/errors.ts'
import type { Filters } from '../../wire/filters.ts'
import { parseTimestamp } from '../../wire/timestamps.ts'
import { truthOf } from '../../wire/truth.ts'
import type { UsageRow } from './usage.ts'

/** Which records are meant: in containerd's language, which BuildKit's clients speak, and in Docker's filters. */

export type RowFilter = (row: UsageRow) => boolean

/** A field as BuildKit's filters know it: undefined where it is absent; flags are empty. */
const fieldOf = (row: UsageRow, name: string): string | undefined => {
  const flags: Record<string, boolean> = {
    inuse: row.inUse,
    mutable: row.mutable,
    immutable: !row.mutable,
    shared: row.shared,
    private: !row.shared,
  }
  const texts: Record<string, string> = {
    id: row.id,
    parents: row.parents.join(';'),
    description: row.description,
    type: row.kind,
  }
  if (Object.hasOwn(flags, name)) return flags[name] ? '' : undefined
  return Object.hasOwn(texts, name) ? texts[name] || undefined : undefined
}

type Operator = '' | '==' | '!=' | '~='

interface Selector {
  field: string
  operator: Operator
  value: string
}

/** A string as Go quotes it; of expressions also between slashes or bars. */
const quotedForm = String.raw`"(?:[^"\\\n]|\\.)*"|\x60[^\x60]*\x60|/(?:[^/\\\n]|\\.)*/|\|(?:[^|\\\n]|\\.)*\|`
const selectorForm = new RegExp(
  String.raw`\s*([A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*|"(?:[^"\\]|\\.)*")\s*(?:(==|!=|~=)\s*(${quotedForm}|[^\s,]+))?\s*(,|$)`,
  'y',
)

const unquoted = (text: string, operator: Operator): string => {
  const quote = text[0] ?? ''
  if (quote === '"') {
    try {
      return JSON.parse(text) as string
    } catch (error) {
      throw badRequest(`filters: unable to unquote: ${text}`, error)
    }
  }
  if (quote === '`' || (operator === '~=' && (quote === '/' || quote === '|')))
    return text.length > 1 && text.endsWith(quote) ? text.slice(1, -1) : text
  return text
}

const selectorsOf = (text: string): Selector[] => {
  const selectors: Selector[] = []
  selectorForm.lastIndex = 0
  while (selectorForm.lastIndex < text.length || selectors.length === 0) {
    const at = selectorForm.lastIndex
    const match = selectorForm.exec(text)
    const [, field = '', operator = '', value = '', end] = match ?? []
    if (!match || (end === ',' && selectorForm.lastIndex === text.length))
      throw badRequest(`filters: parse error: [${text.slice(at)}]`)
    const sign = operator as Operator
    selectors.push({ field: unquoted(field, ''), operator: sign, value: unquoted(value, sign) })
  }
  return selectors
}

const expressionOf = (text: string): RegExp => {
  try {
    return new RegExp(text)
  } catch (error) {
    throw badRequest(`filters: invalid regular expression ${JSON.stringify(text)}`, error)
  }
}

const filterOf = ({ field, operator, value }: Selector): RowFilter => {
  if (operator === '') return row => fieldOf(row, field) !== undefined
  if (operator === '==') return row => fieldOf(row, field) === value
  if (operator === '!=') return row => (fieldOf(row, field) ?? '') !== value
  const expression = expressionOf(value)
  return row => expression.test(fieldOf(row, field) ?? '')
}

/**
 * `id~=abc,type==regular`: all of one text, any of several; none means every record.
 * Errors: `bad-request`.
 */
export const parseRowFilters = (texts: readonly string[]): RowFilter => {
  const filters = texts.map((text): RowFilter => {
    if (text === '') return () => true
    const selectors = selectorsOf(text).map(filterOf)
    return row => selectors.every(selector => selector(row))
  })
  return row => filters.length === 0 || filters.some(filter => filter(row))
}

const flagFields = ['inuse', 'shared', 'private', 'mutable', 'immutable']
const textFields = ['id', 'parent', 'type', 'description']

/** What `POST /build/prune` takes; labels have no meaning there. */
export const pruneFilterKeys = [...textFields, ...flagFields, 'until', 'unused-for', 'label', 'label!']

const only = (filters: Filters, key: string): string | undefined => {
  const [value, ...more] = filters.get(key)
  if (more.length > 0) throw badRequest('filters expect only one value')
  return value
}

/** Docker's own compares the text of a flag with nothing, so that `shared=true` never holds; here it says what it says. */
const flagFilter = (key: string, text: string): RowFilter => {
  const isWanted = text === '' ? true : truthOf(text)
  if (isWanted === undefined) throw badRequest(`invalid filter '${key}=${text}'`)
  return row => (fieldOf(row, key) !== undefined) === isWanted
}

const textFilter = (key: string, text: string): RowFilter => {
  if (key === 'parent') return row => row.parents.includes(text)
  if (key !== 'id') return row => fieldOf(row, key) === text
  const expression = expressionOf(text)
  return row => expression.test(row.id)
}

/** Milliseconds for which what was used is kept; 0 for none. */
const keepDurationOf = (filters: Filters, now: number): number => {
  const [until, unused] = [only(filters, 'until'), only(filters, 'unused-for')]
  if (until !== undefined && unused !== undefined)
    throw badRequest('conflicting filters: "until" and "unused-for"')
  const text = until ?? unused
  if (text === undefined) return 0
  const name = until === undefined ? 'unused-for' : 'until'
  try {
    return now - Number(parseTimestamp(text) / 1_000_000n)
  } catch (error) {
    throw badRequest(`"${name}" filter expects a duration (e.g., '24h') or a timestamp`, error)
  }
}

/** Docker's filters of `POST /build/prune`. Errors: `bad-request` in its words. */
export const readPruneFilters = (
  filters: Filters,
  now: number,
): { filter: RowFilter; keepDuration: number } => {
  const parts = [
    ...textFields.map(key => [key, textFilter] as const),
    ...flagFields.map(key => [key, flagFilter] as const),
  ].flatMap(([key, filterBy]) => {
    const text = only(filters, key)
    return text === undefined ? [] : [filterBy(key, text)]
  })
  return { filter: row => parts.every(part => part(row)), keepDuration: keepDurationOf(filters, now) }
}
