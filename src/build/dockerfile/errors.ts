import { BerthError } from '../../core/errors.ts'
import type { Range } from './types.ts'

/** What is wrong in a Dockerfile, and where. Readers of parts know no place: `located` adds it. */
export class DockerfileError extends BerthError {
  readonly ranges: Range[]

  constructor(message: string, ranges: Range[] = [], options?: { cause?: unknown }) {
    super('dockerfile', 400, message, options)
    this.name = 'DockerfileError'
    this.ranges = ranges
  }
}

/** Runs `read`; its errors that have no place get this one as it is then, and their words the prefix. */
export const located = <T>(place: { range: Range }, read: () => T, prefix = ''): T => {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof DockerfileError) || error.ranges.length > 0) throw error
    throw new DockerfileError(prefix + error.message, [place.range], { cause: error.cause })
  }
}

/** The last line that has a part of the range. */
const lastLine = ({ start, end }: Range): number =>
  Math.max(start.line, end.column === 0 ? end.line - 1 : end.line)

const firstLine = (ranges: Range[]): number =>
  ranges.reduce((least, { start }) => Math.min(least, start.line), Number.POSITIVE_INFINITY)

/** The first and last line to show: those of the ranges and some around them. */
const shownLines = (ranges: Range[], count: number): [first: number, last: number] | undefined => {
  let first = firstLine(ranges)
  let last = Math.min(
    ranges.reduce((most, range) => Math.max(most, lastLine(range)), 0),
    count,
  )
  if (first > count || first < 1) return undefined
  const wanted = first === last ? 4 : 2
  for (let added = 0; added < wanted; added++) {
    if (first > 1) {
      first--
      added++
    }
    if (last !== count) {
      last++
      added++
    }
  }
  return [first, last]
}

/** The lines of the ranges, marked, and some around them, as BuildKit's clients show them; empty if there are none. */
export const excerpt = (text: string, ranges: Range[], fileName = 'Dockerfile'): string => {
  const lines = text.split('\n')
  const shown = ranges.length > 0 ? shownLines(ranges, lines.length) : undefined
  if (!shown) return ''
  const [first, last] = shown
  const isMarked = (line: number): boolean =>
    ranges.some(range => range.start.line <= line && line <= lastLine(range))
  const rows = lines.slice(first - 1, last).map((content, index) => {
    const line = first + index
    return ` ${String(line).padStart(3)} | ${isMarked(line) ? '>>>' : '   '} ${content}\n`
  })
  return `${fileName}:${firstLine(ranges)}\n--------------------\n${rows.join('')}--------------------\n`
}
