import { type ByteString, joinPath, toBytes } from '../../../archive/paths.ts'
import { isDirectory } from '../../../linux/stat.ts'
import { pathError } from './errors.ts'
import { type FileTree, resolvePath, toPath } from './resolve.ts'

/**
 * Go's `path.Match`, which COPY and ADD find files by: `*` and `?` take no slash, `[a-z]` and `[^a]` take any
 * character, `\` is before what is meant as it is. A pattern that is none matches nothing.
 */

type Part =
  | { kind: 'star' }
  | { kind: 'one' }
  | { kind: 'char'; char: string }
  | { kind: 'class'; negated: boolean; ranges: [string, string][] }

/** A character of a class; undefined where the pattern ends or has none there. */
const classChar = (chars: readonly string[], at: number): { char: string; next: number } | undefined => {
  const char = chars[at]
  if (char === undefined || char === '-' || char === ']') return undefined
  if (char !== '\\') return { char, next: at + 1 }
  const escaped = chars[at + 1]
  return escaped === undefined ? undefined : { char: escaped, next: at + 2 }
}

const readClass = (chars: readonly string[], from: number): { part: Part; next: number } | undefined => {
  const negated = chars[from] === '^'
  const ranges: [string, string][] = []
  let at = negated ? from + 1 : from
  while (chars[at] !== ']' || ranges.length === 0) {
    const low = classChar(chars, at)
    if (!low) return undefined
    const high = chars[low.next] === '-' ? classChar(chars, low.next + 1) : low
    if (!high) return undefined
    ranges.push([low.char, high.char])
    at = high.next
  }
  return { part: { kind: 'class', negated, ranges }, next: at + 1 }
}

const parse = (pattern: string): Part[] | undefined => {
  const chars = [...pattern]
  const parts: Part[] = []
  for (let at = 0; at < chars.length; at++) {
    const char = chars[at] ?? ''
    if (char === '*') {
      if (parts.at(-1)?.kind !== 'star') parts.push({ kind: 'star' })
    } else if (char === '?') parts.push({ kind: 'one' })
    else if (char === '[') {
      const read = readClass(chars, at + 1)
      if (!read) return undefined
      parts.push(read.part)
      at = read.next - 1
    } else {
      const meant = char === '\\' ? chars[++at] : char
      if (meant === undefined) return undefined
      parts.push({ kind: 'char', char: meant })
    }
  }
  return parts
}

const takes = (part: Part, char: string): boolean => {
  if (part.kind === 'char') return part.char === char
  if (part.kind === 'class')
    return part.ranges.some(([low, high]) => low <= char && char <= high) !== part.negated
  return char !== '/'
}

/** Goes back to the last star only, so that no pattern takes more than its length times the text's. */
const matches = (parts: readonly Part[], text: string): boolean => {
  const chars = [...text]
  let [part, at] = [0, 0]
  let star: { part: number; at: number } | undefined
  while (at < chars.length) {
    const here = parts[part]
    if (here?.kind === 'star') star = { part: part++, at }
    else if (here && takes(here, chars[at] ?? '')) [part, at] = [part + 1, at + 1]
    else if (star && chars[star.at] !== '/') {
      star = { part: star.part, at: star.at + 1 }
      ;[part, at] = [star.part + 1, star.at]
    } else return false
  }
  while (parts[part]?.kind === 'star') part++
  return part === parts.length
}

export const hasWildcards = (text: string): boolean => /[*?[]/.test(text.replace(/\\./gs, ''))

export interface Glob {
  matches(path: string): boolean
  /** Whether something below this folder may match. */
  mayMatchBelow(folder: string): boolean
}

/** A pattern of relative paths. */
export const parseGlob = (pattern: string): Glob => {
  const parts = parse(pattern)
  const levels = pattern.split('/')
  // A class may take a slash: then levels tell nothing.
  const byLevel = pattern.includes('[') ? undefined : levels.map(parse)
  return {
    matches: path => parts !== undefined && matches(parts, path),
    mayMatchBelow: folder => {
      if (!parts) return false
      if (!byLevel) return true
      const names = folder.split('/')
      return (
        names.length < byLevel.length && names.every((name, index) => matches(byLevel[index] ?? [], name))
      )
    },
  }
}

/** What a pattern is looked for in: a tree of byte strings, '' the root. */
export interface ListedTree extends FileTree {
  /** In byte order. */
  names(path: ByteString): ByteString[]
}

const text = (path: ByteString): string => toBytes(path).toString('utf8')

/**
 * What a pattern finds, in byte order; what is in a directory that it found is not looked at. Without wildcards it is
 * the path itself, there or not. Errors: `not-found` where the folder before the first wildcard is not there.
 */
export const findMatches = (
  tree: ListedTree,
  path: string,
  { followLast }: { followLast: boolean },
): ByteString[] => {
  const { fixed, pattern } = splitWildcards(path)
  if (pattern === '') return [toPath(fixed)]
  const glob = parseGlob(pattern)
  const found: ByteString[] = []
  const walk = (directory: ByteString, relative: ByteString): void => {
    for (const name of tree.names(directory)) {
      const [here, within] = [joinPath(directory, name), joinPath(relative, name)]
      if (glob.matches(text(within))) found.push(here)
      else if (glob.mayMatchBelow(text(within))) {
        const stat = tree.stat(here)
        if (stat && isDirectory(stat)) walk(here, within)
      }
    }
  }
  const base = resolvePath(tree, toPath(fixed), { followLast })
  if (base !== '' && !tree.stat(base)) throw pathError('lstat', base, 'ENOENT')
  walk(base, '')
  return found
}

/** The levels before the first wildcard, and the rest; '' where there is none. */
export const splitWildcards = (path: string): { fixed: string; pattern: string } => {
  const levels = path.split('/').filter(level => level !== '' && level !== '.')
  const first = levels.findIndex(hasWildcards)
  if (first < 0) return { fixed: levels.join('/'), pattern: '' }
  return { fixed: levels.slice(0, first).join('/'), pattern: levels.slice(first).join('/') }
}
