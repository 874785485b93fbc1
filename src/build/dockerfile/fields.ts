import { DockerfileError } from './errors.ts'

/** Errors: as Go's reader of comma-separated values tells of them, at a column from 1. */
const wrong = (column: number, what: string): DockerfileError =>
  new DockerfileError(`parse error on line 1, column ${column}: ${what}`)

const strayQuote = 'bare " in non-quoted field'
const wrongQuote = 'extraneous or missing " in quoted-field'

const readQuoted = (line: string, from: number): { field: string; end: number } => {
  const parts: string[] = []
  for (let at = from; ; ) {
    const close = line.indexOf('"', at)
    if (close < 0) throw wrong(at + 1, wrongQuote)
    parts.push(line.slice(at, close))
    const next = line[close + 1]
    if (next === undefined || next === ',') return { field: parts.join(''), end: close + 1 }
    if (next !== '"') throw wrong(close + 1, wrongQuote)
    parts.push('"')
    at = close + 2
  }
}

/** The values of a line that commas part; a value in quotes may have commas, and its quotes are doubled. */
export const readFields = (line: string): string[] => {
  if (line === '') throw new DockerfileError('EOF')
  const fields: string[] = []
  for (let at = 0; ; at++) {
    if (line[at] === '"') {
      const { field, end } = readQuoted(line, at + 1)
      fields.push(field)
      at = end
    } else {
      const comma = line.indexOf(',', at)
      const field = line.slice(at, comma < 0 ? line.length : comma)
      if (field.includes('"')) throw wrong(at + field.indexOf('"') + 1, strayQuote)
      fields.push(field)
      at += field.length
    }
    if (at >= line.length) return fields
  }
}

/** `key=value`; the key in lower case. */
export const readField = (field: string): { key: string; value?: string } => {
  const equals = field.indexOf('=')
  if (equals < 0) return { key: field.toLowerCase() }
  return { key: field.slice(0, equals).toLowerCase(), value: field.slice(equals + 1) }
}

/** Fields, with words before what is wrong with their quotes. */
export const fieldsOf = (text: string, what: string): string[] => {
  try {
    return readFields(text)
  } catch (error) {
    if (error instanceof DockerfileError)
      throw new DockerfileError(`failed to parse csv ${what}: ${error.message}`)
    throw error
  }
}
