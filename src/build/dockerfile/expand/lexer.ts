import { isSpace } from '../characters.ts'
import { DockerfileError } from '../errors.ts'
import type { Lookup } from '../types.ts'
import { substituted } from './substitution.ts'

/** The shell's words as Dockerfiles have them: quotes, escapes and variables. */

export interface LexOptions {
  /** What `\` is in the file; undefined: nothing escapes. */
  escape: string
  lookup: Lookup
  /** Quotes stay in the words. */
  keepQuotes?: boolean
  /** Escape characters stay in the words. */
  keepEscapes?: boolean
  /** Quotes are characters as others. */
  plainQuotes?: boolean
  /** What uses a name without a value stays as written. */
  keepUnset?: boolean
}

/** Substitutions within substitutions: each is a call within a call here. */
const deepest = 200

const end = undefined
const specialNames = '@*#?-$!0'

/** Splits at spaces that are not quoted. */
class Words {
  readonly words: string[] = []
  #word: string[] = []

  /** Spaces in it part words. */
  add(text: string): void {
    for (const char of text)
      if (isSpace(char)) this.finish()
      else this.#word.push(char)
  }

  addQuoted(text: string): void {
    if (text !== '') this.#word.push(text)
  }

  finish(): string[] {
    if (this.#word.length > 0) this.words.push(this.#word.join(''))
    this.#word = []
    return this.words
  }
}

/** What a stretch of text became, whole and split. */
interface Lexed {
  value: string
  words: string[]
}

export class Lexer {
  readonly used = new Set<string>()
  readonly unset = new Set<string>()
  readonly options: LexOptions
  readonly #text: string
  #at = 0
  #keepEscapes: boolean
  #depth = 0

  constructor(text: string, options: LexOptions) {
    this.#text = text
    this.options = options
    this.#keepEscapes = options.keepEscapes ?? false
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#text.length
  }

  peek(): string | undefined {
    return this.#text[this.#at]
  }

  next(): string | undefined {
    return this.#text[this.#at++]
  }

  /** A name's value; notes that it was asked for. */
  value(name: string): string | undefined {
    const value = this.options.lookup(name)
    if (value === undefined) this.unset.add(name)
    else this.used.add(name)
    return value
  }

  /** All up to `stop`, or to the end of the text without it. */
  until(stop: string | undefined, keepEscapes = this.#keepEscapes): Lexed {
    const outer = this.#keepEscapes
    this.#keepEscapes = keepEscapes
    try {
      return this.#until(stop)
    } finally {
      this.#keepEscapes = outer
    }
  }

  #until(stop: string | undefined): Lexed {
    const value: string[] = []
    const words = new Words()
    for (let char = this.peek(); char !== end; char = this.peek()) {
      if (char === stop) {
        this.#at++
        return { value: value.join(''), words: words.finish() }
      }
      const special = this.#special(char)
      if (special !== undefined) {
        value.push(special)
        if (char === '$') words.add(special)
        else words.addQuoted(special)
        continue
      }
      this.#at++
      if (char !== this.options.escape) {
        value.push(char)
        words.add(char)
        continue
      }
      const escaped = this.next()
      const text = (this.#keepEscapes ? char : '') + (escaped ?? '')
      value.push(text)
      words.addQuoted(text)
    }
    if (stop !== undefined)
      throw new DockerfileError(`unexpected end of statement while looking for matching ${stop}`)
    return { value: value.join(''), words: words.finish() }
  }

  /** What begins with this character, where it is more than itself. */
  #special(char: string): string | undefined {
    if (char === '$') return this.#dollar()
    if (char === '<') return this.#heredocMark()
    if (this.options.plainQuotes) return undefined
    if (char === "'") return this.#singleQuoted()
    if (char === '"') return this.#doubleQuoted()
    return undefined
  }

  /** `<<` and spaces before its word are no end of a word. */
  #heredocMark(): string {
    this.#at++
    if (this.peek() !== '<') return '<'
    const start = this.#at++
    while (/[\t\r ]/.test(this.peek() ?? '')) this.#at++
    return `<${this.#text.slice(start, this.#at)}`
  }

  #singleQuoted(): string {
    const close = this.#text.indexOf("'", this.#at + 1)
    if (close < 0) {
      this.#at = this.#text.length
      throw new DockerfileError('unexpected end of statement while looking for matching single-quote')
    }
    const content = this.#text.slice(this.#at + 1, close)
    this.#at = close + 1
    return this.options.keepQuotes ? `'${content}'` : content
  }

  #doubleQuoted(): string {
    const { escape: escapeChar, keepQuotes } = this.options
    const mark = keepQuotes ? '"' : ''
    const out: string[] = [mark]
    this.#at++
    for (let char = this.peek(); char !== end; char = this.peek()) {
      if (char === '$') {
        out.push(this.#dollar())
        continue
      }
      this.#at++
      if (char === '"') return out.join('') + mark
      if (char !== escapeChar) {
        out.push(char)
        continue
      }
      if (this.#keepEscapes) out.push(char)
      const following = this.peek()
      if (following === end) continue
      const isEscaped = following === '"' || following === '$' || following === escapeChar
      out.push(isEscaped ? following : char)
      if (isEscaped) this.#at++
    }
    throw new DockerfileError('unexpected end of statement while looking for matching double-quote')
  }

  #dollar(): string {
    this.#at++
    if (this.peek() === '{') return this.#braces()
    const name = this.name()
    if (name === '') return '$'
    return this.value(name) ?? (this.options.keepUnset ? `$${name}` : '')
  }

  #braces(): string {
    this.#at++
    if (++this.#depth > deepest) throw new DockerfileError('syntax error: substitutions are nested too deep')
    const value = substituted(this)
    this.#depth--
    return value
  }

  /** The name that begins here: letters, digits and `_`, digits alone, or one of the shell's special ones. */
  name(): string {
    const start = this.#at
    const first = this.peek() ?? ''
    if (/\p{Nd}/u.test(first)) while (/\p{Nd}/u.test(this.peek() ?? '')) this.#at++
    else if (first !== '' && specialNames.includes(first)) this.#at++
    else while (this.#isNamePart()) this.#at += (this.#text.codePointAt(this.#at) ?? 0) > 0xffff ? 2 : 1
    return this.#text.slice(start, this.#at)
  }

  #isNamePart(): boolean {
    const point = this.#text.codePointAt(this.#at)
    return point !== undefined && /[\p{L}\p{Nd}_]/u.test(String.fromCodePoint(point))
  }
}
