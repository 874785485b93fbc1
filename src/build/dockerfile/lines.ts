import { isSpaceCode, skipSpace, trimSpace } from './characters.ts'
import { type Directive, DirectiveReader, withoutByteOrderMark } from './directives.ts'
import { DockerfileError, located } from './errors.ts'
import type { Escape, Position, Range } from './types.ts'

/** A part of a logical line by its offsets. */
export interface Piece {
  value: string
  start: number
  end: number
}

/** Lines that continuations made one, and where its parts came from. */
export interface LogicalLine {
  text: string
  comments: string[]
  range: Range
  /** Where the offsets of pieces are in the file. */
  rangeOf(piece: { start: number; end: number }): Range
}

/** From offset `at` of a logical line on, its text is that of the file from there on. */
interface Segment {
  at: number
  line: number
  column: number
}

/** Bytes of a line, with its end, that BuildKit does not take any more. */
const tooLong = 65_536

const segmentAt = (segments: Segment[], offset: number): Segment => {
  let low = 0
  let high = segments.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if ((segments[middle]?.at ?? 0) <= offset) low = middle
    else high = middle - 1
  }
  return segments[low] ?? { at: 0, line: 1, column: 0 }
}

const positionIn = (segments: Segment[], offset: number): Position => {
  const { at, line, column } = segmentAt(segments, offset)
  return { line, column: column + offset - at }
}

const rangeIn = (segments: Segment[], { start, end }: { start: number; end: number }): Range => {
  const from = positionIn(segments, start)
  if (end <= start) return { start: from, end: from }
  const last = positionIn(segments, end - 1)
  return { start: from, end: { line: last.line, column: last.column + 1 } }
}

const isComment = (line: string): boolean => line[skipSpace(line)] === '#'

export const withoutLineEnd = (line: string): string => {
  let end = line.length
  while (end > 0 && (line[end - 1] === '\n' || line[end - 1] === '\r')) end--
  return line.slice(0, end)
}

/** The line before its escape character at the end; undefined where it does not go on. */
const continued = (line: string, escapeChar: Escape): string | undefined => {
  let end = line.length
  while (end > 0 && (line[end - 1] === ' ' || line[end - 1] === '\t')) end--
  if (line[end - 1] !== escapeChar || line[end - 2] === escapeChar) return undefined
  return line.slice(0, end - 1)
}

const isBlank = (line: string): boolean => {
  for (let at = 0; at < line.length; at++) if (!isSpaceCode(line.charCodeAt(at))) return false
  return true
}

/** The file's lines with their ends, read one by one. */
export class Lines {
  readonly #lines: string[]
  #next = 0

  constructor(text: string) {
    this.#lines = withoutByteOrderMark(text).split('\n')
    const last = this.#lines.pop() ?? ''
    this.#lines = this.#lines.map(line => `${line}\n`)
    if (last !== '') this.#lines.push(last)
  }

  /** Of the line that was read last, from 1. */
  get number(): number {
    return this.#next
  }

  next(): string | undefined {
    const line = this.#lines[this.#next]
    if (line === undefined) return undefined
    this.#next++
    if (line.length * 3 >= tooLong && Buffer.byteLength(line) >= tooLong)
      throw new DockerfileError(`dockerfile line greater than max allowed size of ${tooLong - 1}`, [
        this.range,
      ])
    return line
  }

  /** All of the line that was read last. */
  get range(): Range {
    const line = Math.max(this.#next, 1)
    const length = withoutLineEnd(this.#lines[line - 1] ?? '').length
    return { start: { line, column: 0 }, end: { line, column: length } }
  }
}

export interface ReadDirective extends Directive {
  line: number
}

/** Reads logical lines, directives before them and comments between them. */
export class LineReader {
  readonly lines: Lines
  readonly directives: ReadDirective[] = []
  readonly emptyContinuations: Range[] = []
  escape: Escape = '\\'
  readonly #reader = new DirectiveReader()
  #comments: string[] = []

  constructor(text: string) {
    this.lines = new Lines(text)
  }

  /** The next logical line; undefined at the end of the file. */
  next(): LogicalLine | undefined {
    for (let raw = this.lines.next(); raw !== undefined; raw = this.lines.next()) {
      const line = withoutLineEnd(raw)
      const indent = skipSpace(line)
      const isDirective = this.#readDirective(line.slice(indent), indent)
      if (isComment(line)) {
        if (!isDirective) this.#noteComment(line.slice(indent + 1))
        continue
      }
      if (indent < line.length) return this.#join(line, indent)
    }
    return undefined
  }

  #noteComment(text: string): void {
    const comment = trimSpace(text)
    if (comment === '') this.#comments = []
    else this.#comments.push(comment)
  }

  #readDirective(line: string, indent: number): boolean {
    const { number, range } = this.lines
    const directive = located(this.lines, () => this.#reader.read(line))
    if (!directive) return false
    this.directives.push({ ...directive, column: directive.column + indent, line: number })
    if (directive.key !== 'escape') return true
    if (directive.value !== '\\' && directive.value !== '`')
      throw new DockerfileError(`invalid escape token '${directive.value}' does not match \` or \\`, [range])
    this.escape = directive.value
    return true
  }

  /** The logical line that begins with this line of the file. */
  #join(first: string, indent: number): LogicalLine {
    const start = { line: this.lines.number, column: indent }
    const segments: Segment[] = [{ at: 0, ...start }]
    let open = continued(first.slice(indent), this.escape)
    const parts = [open ?? first.slice(indent)]
    let length = parts[0]?.length ?? 0
    let hasEmpty = false
    while (open !== undefined) {
      const raw = this.lines.next()
      if (raw === undefined) break
      const line = withoutLineEnd(raw)
      if (isComment(line)) continue
      if (isBlank(line)) {
        hasEmpty = true
        continue
      }
      open = continued(line, this.escape)
      segments.push({ at: length, line: this.lines.number, column: 0 })
      parts.push(open ?? line)
      length += (open ?? line).length
    }
    const comments = this.#comments
    this.#comments = []
    const { range: last } = this.lines
    if (hasEmpty) this.emptyContinuations.push(last)
    return {
      text: parts.join(''),
      comments,
      range: { start, end: last.end },
      rangeOf: piece => rangeIn(segments, piece),
    }
  }
}
