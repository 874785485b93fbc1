import { isSeparator, quote, skipSpace, trimSpace } from './characters.ts'
import { DockerfileError } from './errors.ts'
import type { LogicalLine, Piece } from './lines.ts'
import type { Escape, Heredoc, Text } from './types.ts'
import { splitAll, splitFlags, splitOnce, splitQuoted, trimmedPiece } from './words.ts'

/** A line split as its instruction wants it, before anybody asks what it means. */
export interface Statement {
  line: LogicalLine
  /** As written. */
  keyword: string
  /** Upper case. */
  name: string
  flags: Piece[]
  /** Of ENV and LABEL: keys and values by turns. */
  args: Piece[]
  /** `args` are the strings of a JSON array. */
  json: boolean
  /** `ENV key value`. */
  legacy: boolean
  heredocs: Heredoc[]
  /** Of ONBUILD. */
  trigger?: Statement
}

type Args = Pick<Statement, 'args' | 'json' | 'legacy' | 'trigger'>
type ReadArgs = (rest: Piece, escapeChar: Escape, line: LogicalLine) => Partial<Args>

/** Where the strings of a JSON array of strings are. */
const stringsIn = (json: string): { start: number; end: number }[] => {
  const found: { start: number; end: number }[] = []
  for (let start = json.indexOf('"'); start >= 0; ) {
    let end = start + 1
    while (json[end] !== '"') end += json[end] === '\\' ? 2 : 1
    found.push({ start, end: end + 1 })
    start = json.indexOf('"', end + 1)
  }
  return found
}

/** The strings of a JSON array; undefined if it is none. Errors: an array of something else. */
const readJson = (rest: Piece): Piece[] | undefined => {
  const skipped = skipSpace(rest.value)
  if (rest.value[skipped] !== '[') return undefined
  let values: unknown
  try {
    values = JSON.parse(rest.value)
  } catch {
    return undefined
  }
  if (!Array.isArray(values)) return undefined
  if (!values.every(value => typeof value === 'string'))
    throw new DockerfileError('when using JSON array syntax, arrays must be comprised of strings only')
  return stringsIn(rest.value).map(({ start, end }, index) => ({
    value: values[index] ?? '',
    start: rest.start + start,
    end: rest.start + end,
  }))
}

const wholeOf = (rest: Piece): Partial<Args> => ({ args: rest.value === '' ? [] : [rest] })

const wordsOf = (rest: Piece): Partial<Args> => ({ args: splitAll(rest) })

const readJsonOr =
  (otherwise: (rest: Piece) => Partial<Args>): ReadArgs =>
  rest => {
    const args = readJson(rest)
    return args ? { args, json: true } : otherwise(rest)
  }

const readHealth: ReadArgs = (rest, escapeChar, line) => {
  let end = 0
  while (end < rest.value.length && !isSeparator(rest.value[end])) end++
  if (end === rest.value.length) return wholeOf(rest)
  const type = { value: rest.value.slice(0, end), start: rest.start, end: rest.start + end }
  const command = trimmedPiece(rest.value.slice(end), rest.start + end)
  const { args = [], ...others } = readJsonOr(wholeOf)(command, escapeChar, line)
  return { ...others, args: [type, ...args] }
}

const readPairs =
  (name: string): ReadArgs =>
  (rest, escapeChar) => {
    const words = splitQuoted(rest, escapeChar)
    if (words.length === 0) return {}
    if (!words[0]?.value.includes('=')) {
      const { first, rest: value } = splitOnce(rest.value, rest.start)
      if (!value) throw new DockerfileError(`${name} must have two arguments`)
      return { args: [first, value], legacy: true }
    }
    return { args: words.flatMap(pairOf) }
  }

const pairOf = (word: Piece): Piece[] => {
  const equals = word.value.indexOf('=')
  if (equals < 0)
    throw new DockerfileError(
      `Syntax error - can't find = in ${quote(word.value)}. Must be of the form: name=value`,
    )
  const middle = word.start + equals
  return [
    { value: word.value.slice(0, equals), start: word.start, end: middle },
    { value: word.value.slice(equals + 1), start: middle + 1, end: word.end },
  ]
}

const readTrigger: ReadArgs = (rest, escapeChar, line) =>
  rest.value === '' ? {} : { trigger: readStatement(line, escapeChar, rest) }

const readers: Record<string, ReadArgs> = {
  ADD: readJsonOr(wordsOf),
  ARG: (rest, escapeChar) => ({ args: splitQuoted(rest, escapeChar) }),
  CMD: readJsonOr(wholeOf),
  COPY: readJsonOr(wordsOf),
  ENTRYPOINT: readJsonOr(wholeOf),
  ENV: readPairs('ENV'),
  EXPOSE: wordsOf,
  FROM: wordsOf,
  HEALTHCHECK: readHealth,
  LABEL: readPairs('LABEL'),
  MAINTAINER: wholeOf,
  ONBUILD: readTrigger,
  RUN: readJsonOr(wholeOf),
  SHELL: readJsonOr(wholeOf),
  STOPSIGNAL: wholeOf,
  USER: wholeOf,
  VOLUME: readJsonOr(wordsOf),
  WORKDIR: wholeOf,
}

/** All instructions, for suggestions. */
export const instructionNames = Object.keys(readers)

/** Splits a line, or what follows ONBUILD in it. What it begins with need not be an instruction. */
export const readStatement = (line: LogicalLine, escapeChar: Escape, part?: Piece): Statement => {
  const { value, start } = part ?? { value: line.text, start: 0 }
  const whole = trimmedPiece(value, start)
  const { first, rest } = splitOnce(whole.value, whole.start)
  // Other letters have upper cases among these, too.
  const name = /^[A-Za-z]+$/.test(first.value) ? first.value.toUpperCase() : first.value
  const { flags, rest: args } = rest
    ? splitFlags(rest, escapeChar)
    : { flags: [], rest: { ...first, value: '' } }
  // One within another is refused later, however many there are.
  const isChained = part !== undefined && name === 'ONBUILD'
  const read = Object.hasOwn(readers, name) && !isChained ? readers[name] : undefined
  return {
    line,
    keyword: first.value,
    name,
    flags,
    args: [],
    json: false,
    legacy: false,
    heredocs: [],
    ...read?.(args, escapeChar, line),
  }
}

/** ADD, COPY and RUN may have heredocs, also behind ONBUILD; not where they have JSON. */
export const mayHaveHeredocs = (statement: Statement): boolean => {
  const inner = statement.name === 'ONBUILD' && statement.trigger ? statement.trigger : statement
  return ['ADD', 'COPY', 'RUN'].includes(inner.name) && !inner.json
}

export const textOf = ({ line }: Statement, piece: Piece): Text => ({
  value: piece.value,
  range: line.rangeOf(piece),
})

/** The statement as written, on one line. */
export const sourceOf = ({ line }: Statement): string => trimSpace(line.text)
