import { DockerfileError } from '../errors.ts'
import type { Lexer } from './lexer.ts'
import { replacePattern, trimPattern } from './pattern.ts'

/** What stands between the braces of `${…}`. */

const unsupported = (modifier: string): DockerfileError =>
  new DockerfileError(`unsupported modifier (${modifier}) in substitution`)

/** The text up to `stop`. Errors: whatever it is, the end of the text came first; `missing` names what is not there. */
const upTo = (lexer: Lexer, stop: string, keepEscapes: boolean, missing: string): string => {
  try {
    return lexer.until(stop, keepEscapes).value
  } catch (error) {
    if (lexer.isAtEnd) throw new DockerfileError(`syntax error: missing ${missing}`)
    throw error
  }
}

interface Modified {
  name: string
  value: string | undefined
  word: string
  /** `:` before it: what is empty counts as unset. */
  orEmpty: boolean
}

const required = ({ name, value, word, orEmpty }: Modified): string => {
  if (value === undefined) throw new DockerfileError(`${name}: ${word || 'is not allowed to be unset'}`)
  if (orEmpty && value === '') throw new DockerfileError(`${name}: ${word || 'is not allowed to be empty'}`)
  return value
}

const trimmed = ({ value, word }: Modified, mark: string): string => {
  const longest = word.startsWith(mark)
  const side = mark === '#' ? 'start' : 'end'
  return trimPattern(value ?? '', longest ? word.slice(1) : word, { side, longest })
}

const modified = (lexer: Lexer, name: string, orEmpty: boolean, mark: string | undefined): string => {
  const isTrim = mark === '#' || mark === '%'
  const modifier = (orEmpty ? ':' : '') + (mark ?? '')
  if (mark === undefined) throw new DockerfileError("syntax error: missing '}'")
  if (orEmpty && isTrim) throw unsupported(modifier)
  const word = upTo(lexer, '}', isTrim, "'}'")
  const value = lexer.value(name)
  if (value === undefined && lexer.options.keepUnset) return `\${${name}${modifier}${word}}`
  const isUnset = value === undefined || (orEmpty && value === '')
  if (mark === '-') return isUnset ? word : value
  if (mark === '+') return isUnset ? '' : word
  if (mark === '?') return required({ name, value, word, orEmpty })
  if (isTrim) return trimmed({ name, value, word, orEmpty }, mark)
  throw unsupported(modifier)
}

const replaced = (lexer: Lexer, name: string): string => {
  const all = lexer.peek() === '/'
  if (all) lexer.next()
  const pattern = upTo(lexer, '/', true, "'/' in ${}")
  const replacement = upTo(lexer, '}', true, "'}'")
  const value = lexer.value(name)
  if (value === undefined && lexer.options.keepUnset) return `\${${name}/${pattern}/${replacement}}`
  return replacePattern(value ?? '', pattern, replacement, all)
}

/** The value of a substitution whose `${` was read. Reads its `}` too. */
export const substituted = (lexer: Lexer): string => {
  const first = lexer.peek()
  if (first === undefined) throw new DockerfileError("syntax error: missing '}'")
  if (first === '{' || first === '}' || first === ':')
    throw new DockerfileError('syntax error: bad substitution')
  const name = lexer.name()
  const mark = lexer.next()
  if (mark === undefined) throw new DockerfileError("syntax error: missing '}'")
  if (mark === '}') return lexer.value(name) ?? (lexer.options.keepUnset ? `\${${name}}` : '')
  if (mark === ':') return modified(lexer, name, true, lexer.next())
  if ('+-?#%'.includes(mark)) return modified(lexer, name, false, mark)
  if (mark === '/') return replaced(lexer, name)
  throw unsupported(mark)
}
