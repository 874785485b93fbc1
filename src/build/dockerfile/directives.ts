import { isSpaceCode, skipSpace, trimStart } from './characters.ts'
import { DockerfileError } from './errors.ts'
import type { Range, Text } from './types.ts'

/** `# key=value` before anything else in the file. The first line that is none ends them. */

const known = ['syntax', 'escape', 'check']

export interface Directive {
  key: string
  value: string
  /** UTF-16 units before the value in the line. */
  column: number
}

/** A directive's parts behind its mark; undefined if the text is none. No regular expression: lines can be long. */
const parts = (text: string): Directive | undefined => {
  let at = 0
  while (/[a-zA-Z0-9]/.test(text[at] ?? '')) at++
  const key = text.slice(0, at).toLowerCase()
  if (!known.includes(key)) return undefined
  at = skipSpace(text, at)
  if (text[at] !== '=') return undefined
  const column = skipSpace(text, at + 1)
  let end = text.length
  while (end > column && isSpaceCode(text.charCodeAt(end - 1))) end--
  const value = text.slice(column, end)
  return value === '' ? undefined : { key, value, column }
}

/** Reads directives line by line. `mark` is what a line begins with. */
export class DirectiveReader {
  readonly #mark: string
  readonly #seen = new Set<string>()
  #done = false

  constructor(mark = '#') {
    this.#mark = mark
  }

  /** The line's directive; after the first line without one there are no more. Errors: a second of the same. */
  read(line: string): Directive | undefined {
    if (this.#done) return undefined
    const behind = line.startsWith(this.#mark) ? line.slice(this.#mark.length) : undefined
    const text = behind === undefined ? '' : trimStart(behind)
    const found = parts(text)
    if (!found) {
      this.#done = true
      return undefined
    }
    if (this.#seen.has(found.key))
      throw new DockerfileError(`only one ${found.key} parser directive can be used`)
    this.#seen.add(found.key)
    return { ...found, column: line.length - text.length + found.column }
  }
}

export const withoutByteOrderMark = (text: string): string =>
  text.startsWith('\ufeff') ? text.slice(1) : text

const lineRange = (line: number, start: number, length: number): Range => ({
  start: { line, column: start },
  end: { line, column: start + length },
})

const firstWord = (text: string): string => {
  const space = text.indexOf(' ')
  return space < 0 ? text : text.slice(0, space)
}

/** A directive with its first word, and with all its words. */
export interface DirectiveText extends Text {
  commandLine: string
}

const detectMarked = (
  lines: string[],
  key: string,
  mark: string,
  lineBefore: number,
): DirectiveText | undefined => {
  const reader = new DirectiveReader(mark)
  for (const [index, line] of lines.entries()) {
    let directive: Directive | undefined
    try {
      directive = reader.read(line.replace(/\r$/, ''))
    } catch {
      return undefined
    }
    if (!directive) return undefined
    if (directive.key !== key) continue
    const value = firstWord(directive.value)
    const range = lineRange(lineBefore + index + 1, directive.column, value.length)
    return { value, commandLine: directive.value, range }
  }
  return undefined
}

const detectJson = (text: string, key: string, lineBefore: number): DirectiveText | undefined => {
  if (text[skipSpace(text)] !== '{') return undefined
  try {
    const value = (JSON.parse(text) as Record<string, unknown>)[key]
    if (typeof value !== 'string') return undefined
    return { value, commandLine: value, range: lineRange(lineBefore + 1, 0, 0) }
  } catch {
    return undefined
  }
}

/** A first line `#!…` is passed over. */
const withoutShebang = (text: string): [text: string, linesBefore: number] => {
  const plain = withoutByteOrderMark(text)
  if (!plain.startsWith('#!')) return [plain, 0]
  const end = plain.indexOf('\n')
  return [end < 0 ? '' : plain.slice(end + 1), 1]
}

/** The directive of a Dockerfile, read without the rest of the file, which may be in another language. */
export const detectDirective = (text: string, key: string): DirectiveText | undefined => {
  const [rest, before] = withoutShebang(text)
  return detectMarked(rest.split('\n', known.length + 1), key, '#', before)
}

/** `# syntax=`, also as `// syntax=` and `{"syntax": …}`: files of other frontends have those. */
export const detectSyntax = (text: string): DirectiveText | undefined => {
  const [rest, before] = withoutShebang(text)
  return (
    detectDirective(text, 'syntax') ??
    detectMarked(rest.split('\n', known.length + 1), 'syntax', '//', before) ??
    detectJson(rest, 'syntax', before)
  )
}
