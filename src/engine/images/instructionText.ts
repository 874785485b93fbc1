import { badRequest } from '../../core/errors.ts'

/** The text of Dockerfile instructions: lines, words, quotes, variables, JSON forms. Pure. */

export interface InstructionLine {
  /** As it is written. */
  name: string
  /** `--interval=5s` and the like, without the dashes. */
  flags: Map<string, string>
  /** The rest, trimmed. */
  rest: string
}

const isSpace = (char: string | undefined): boolean => char !== undefined && /\s/.test(char)

/** Joins continued lines, drops comments and blank lines. */
const logicalLines = (text: string): string[] => {
  const lines: string[] = []
  let open = ''
  for (const line of text.split(/\r?\n/)) {
    if (/^\s*#/.test(line) || (open === '' && line.trim() === '')) continue
    const continued = /^(.*)\\[ \t]*$/.exec(line)
    if (continued) open += continued[1] ?? ''
    else {
      lines.push((open + line).trim())
      open = ''
    }
  }
  if (open.trim() !== '') lines.push(open.trim())
  return lines
}

const takeFlags = (text: string): { flags: Map<string, string>; rest: string } => {
  const flags = new Map<string, string>()
  let rest = text
  for (let match = /^--(\S*)\s*/.exec(rest); match; match = /^--(\S*)\s*/.exec(rest)) {
    rest = rest.slice(match[0].length)
    const [name = '', ...value] = (match[1] ?? '').split('=')
    if (name === '') break
    flags.set(name, value.join('='))
  }
  return { flags, rest }
}

export const instructionLines = (text: string): InstructionLine[] =>
  logicalLines(text).map(line => {
    const [name = ''] = line.split(/\s/, 1)
    return { name, ...takeFlags(line.slice(name.length).trim()) }
  })

/** Words at blanks outside quotes; quotes and escapes stay in them. */
export const quotedWords = (text: string): string[] => {
  const words: string[] = []
  let word = ''
  let quote = ''
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? ''
    if (quote === '' && isSpace(char)) {
      if (word !== '') words.push(word)
      word = ''
      continue
    }
    word += char
    if (char === '\\' && quote !== "'" && at + 1 < text.length) word += text[++at]
    else if (quote === char) quote = ''
    else if (quote === '' && (char === '"' || char === "'")) quote = char
  }
  if (word !== '') words.push(word)
  return words
}

/** `name=value …`, or the old `name value with blanks`. Errors: `bad-request` in Docker's words. */
export const nameValues = (text: string, instruction: string): [name: string, value: string][] => {
  const words = quotedWords(text)
  const [first] = words
  if (first === undefined) throw badRequest(`${instruction} requires at least one argument`)
  if (!first.includes('=')) {
    const [, name = '', value] = /^(\S+)\s+(.*)$/s.exec(text) ?? []
    if (value === undefined) throw badRequest(`${instruction} must have two arguments`)
    return [[name, value]]
  }
  return words.map(word => {
    const equals = word.indexOf('=')
    if (equals < 0)
      throw badRequest(
        `Syntax error - can't find = in ${JSON.stringify(word)}. Must be of the form: name=value`,
      )
    if (equals === 0) throw badRequest(`${instruction} names can not be blank`)
    return [word.slice(0, equals), word.slice(equals + 1)]
  })
}

/** A list of strings where the text is one in JSON; undefined where it is anything else. */
export const jsonStrings = (text: string): string[] | undefined => {
  if (!text.startsWith('[')) return undefined
  try {
    const value: unknown = JSON.parse(text)
    return Array.isArray(value) && value.every(entry => typeof entry === 'string') ? value : undefined
  } catch {
    return undefined
  }
}

type Variables = (name: string) => string | undefined

const unsupported = (modifier: string): Error =>
  badRequest(`unsupported modifier (${modifier}) in substitution`)

/** `${name:-word}` and its kin, without the braces. */
const substitute = (inside: string, variables: Variables): string => {
  const match = /^(\w+)(?:(:?[-+?])(.*))?$/s.exec(inside)
  if (!match?.[1]) throw badRequest(`syntax error: bad substitution \${${inside}}`)
  const [, name, modifier, word = ''] = match
  const value = variables(name)
  if (modifier === undefined) return value ?? ''
  const isThere = value !== undefined && (!modifier.startsWith(':') || value !== '')
  const kind = modifier.at(-1)
  if (kind === '-') return isThere ? (value ?? '') : expand(word, variables)
  if (kind === '+') return isThere ? expand(word, variables) : ''
  if (kind === '?' && !isThere) throw badRequest(`${name}: ${word || 'not allowed to be unset'}`)
  if (kind === '?') return value ?? ''
  throw unsupported(modifier)
}

const closingBrace = (text: string, from: number): number => {
  let open = 1
  for (let at = from; at < text.length; at++) {
    if (text[at] === '{') open++
    else if (text[at] === '}' && --open === 0) return at
  }
  throw badRequest('syntax error: missing }')
}

/** What `$` at a place means, and where the text goes on. */
const variableAt = (text: string, at: number, variables: Variables): { value: string; next: number } => {
  if (text[at + 1] === '{') {
    const end = closingBrace(text, at + 2)
    return { value: substitute(text.slice(at + 2, end), variables), next: end + 1 }
  }
  const [name] = /^(?:[A-Za-z_]\w*|\d)/.exec(text.slice(at + 1)) ?? []
  if (name === undefined) return { value: '$', next: at + 1 }
  return { value: variables(name) ?? '', next: at + 1 + name.length }
}

const escapable = new Set(['"', '$', '\\'])

/** One word with its quotes taken off and its variables filled in. Errors: `bad-request`. */
export const expand = (text: string, variables: Variables): string => {
  let out = ''
  let quote = ''
  for (let at = 0; at < text.length; ) {
    const char = text[at] ?? ''
    const following = text[at + 1]
    if (quote === "'" ? char !== "'" : false) out += text[at++]
    else if (char === quote) {
      quote = ''
      at++
    } else if (quote === '' && (char === '"' || char === "'")) {
      quote = char
      at++
    } else if (char === '\\' && following !== undefined) {
      out += quote === '"' && !escapable.has(following) ? char + following : following
      at += 2
    } else if (char === '$') {
      const { value, next } = variableAt(text, at, variables)
      out += value
      at = next
    } else out += text[at++]
  }
  if (quote !== '')
    throw badRequest(
      `unexpected end of statement while looking for matching ${quote === '"' ? 'double' : 'single'}-quote`,
    )
  return out
}

const units: Record<string, number> = { ns: 1, us: 1e3, µs: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 }

/** Nanoseconds of a duration as Go writes it (`1m30s`). Errors: `bad-request` in Go's words. */
export const parseDuration = (text: string): number => {
  const form = /^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h))+$/
  if (text === '0') return 0
  if (!form.test(text)) throw badRequest(`time: invalid duration ${JSON.stringify(text)}`)
  let sum = 0
  for (const [, number, unit = ''] of text.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)/g))
    sum += Number(number) * (units[unit] ?? 0)
  return Math.round(text.startsWith('-') ? -sum : sum)
}
