import path from 'node:path'
import { trimSpace } from './characters.ts'
import { withoutByteOrderMark } from './directives.ts'
import { DockerfileError } from './errors.ts'
import { type IgnorePattern, parseIgnorePattern } from './ignorePattern.ts'

/** What a build does not see of a folder: `.dockerignore`, and `--exclude` of COPY and ADD. */

/** The shortest form of a path, without a slash at its end. */
const clean = (text: string): string => {
  const normal = path.posix.normalize(text)
  return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal
}

const cleanPattern = (text: string): string => {
  const isException = text.startsWith('!')
  const pattern = isException ? trimSpace(text.slice(1)) : text
  const cleaned = pattern === '' ? '' : clean(pattern)
  const relative = cleaned.length > 1 && cleaned.startsWith('/') ? cleaned.slice(1) : cleaned
  return isException ? `!${relative}` : relative
}

/** The patterns of a `.dockerignore`, cleaned, without comments and empty lines. */
export const readIgnoreFile = (text: string): string[] =>
  withoutByteOrderMark(text)
    .split('\n')
    .filter(line => !line.startsWith('#'))
    .map(trimSpace)
    .filter(line => line !== '')
    .map(cleanPattern)

/** Which patterns matched a folder or one above it, in their order. */
export type Matched = readonly boolean[]

export interface IgnoreResult {
  ignored: boolean
  /** To be given when entries of this folder are asked for. */
  matched: Matched
  /** Nothing below this folder can be wanted. */
  canSkip: boolean
}

/** The path and the folders that it is in, from above. */
const withParents = (file: string): string[] => {
  const segments = file.split('/')
  return segments.map((_, index) => segments.slice(0, index + 1).join('/'))
}

/** Patterns in their order: the last one that matches a path, or a folder that it is in, decides. */
export class IgnoreMatcher {
  readonly patterns: IgnorePattern[]

  /** Errors: a pattern that is none. */
  constructor(patterns: string[]) {
    this.patterns = patterns
      .map(trimSpace)
      .filter(text => text !== '')
      .map(text => {
        const pattern = clean(text)
        const isException = pattern.startsWith('!')
        if (pattern === '!') throw new DockerfileError('illegal exclusion pattern: "!"')
        return parseIgnorePattern(isException ? pattern.slice(1) : pattern, isException)
      })
  }

  get hasExceptions(): boolean {
    return this.patterns.some(({ isException }) => isException)
  }

  /** Whether a path, relative and with slashes, is ignored. */
  ignores(file: string): boolean {
    const paths = withParents(file)
    let ignored = false
    for (const pattern of this.patterns)
      if (pattern.isException === ignored && paths.some(part => pattern.matches(part)))
        ignored = !pattern.isException
    return ignored
  }

  /**
   * In a walk from above, where each folder's result is given for its entries. Without one: at the top. As Docker
   * sends contexts: an exception of a folder counts for what is in it only where that folder was ignored before.
   */
  visit(file: string, folder?: Matched): IgnoreResult {
    let ignored = false
    const matched = this.patterns.map((pattern, index) => {
      const is = folder?.[index] || (pattern.isException === ignored && pattern.matches(file))
      if (is) ignored = !pattern.isException
      return is
    })
    const mayHaveExceptions = (): boolean =>
      this.patterns.some(pattern => pattern.isException && pattern.mayMatchBelow(file))
    return { ignored, matched, canSkip: ignored && !mayHaveExceptions() }
  }
}
