import { DockerfileError } from './errors.ts'

/**
 * One pattern of a `.dockerignore`: `*` and `?` within a segment, `**` over any, `[a-z]`, `\` before what is meant
 * as it is. Matched by following all states at once, so that no pattern takes time beyond its length times the path's.
 */
type Part =
  | { kind: 'char'; char: string }
  /** `?` */
  | { kind: 'one' }
  /** `*` */
  | { kind: 'segment' }
  /** `**` at the end: anything. */
  | { kind: 'all' }
  /** `**` elsewhere: nothing, or what its `inFolders` takes. */
  | { kind: 'folders' }
  /** Anything up to a slash. */
  | { kind: 'inFolders' }
  | { kind: 'class'; negated: boolean; ranges: [low: string, high: string][] }

const bad = (): DockerfileError => new DockerfileError('syntax error in pattern')

/** A character of a class, escaped or not. */
const classChar = (chars: string[], at: number): { char: string; next: number } => {
  const char = chars[at]
  const isEscape = char === '\\'
  const meant = isEscape ? chars[at + 1] : char
  if (meant === undefined || (!isEscape && (meant === '-' || meant === ']'))) throw bad()
  return { char: meant, next: at + (isEscape ? 2 : 1) }
}

const readClass = (chars: string[], from: number): { part: Part; next: number } => {
  const negated = chars[from] === '^'
  const ranges: [string, string][] = []
  let at = from + (negated ? 1 : 0)
  while (chars[at] !== ']' || ranges.length === 0) {
    const low = classChar(chars, at)
    at = low.next
    if (chars[at] !== '-') {
      ranges.push([low.char, low.char])
      continue
    }
    const high = classChar(chars, at + 1)
    at = high.next
    ranges.push([low.char, high.char])
  }
  return { part: { kind: 'class', negated, ranges }, next: at + 1 }
}

/** The parts of `*` or `**`; a slash behind `**` is part of it. */
const readStars = (chars: string[], at: number): { parts: Part[]; next: number } => {
  if (chars[at + 1] !== '*') return { parts: [{ kind: 'segment' }], next: at + 1 }
  const next = at + (chars[at + 2] === '/' ? 3 : 2)
  const parts: Part[] =
    next >= chars.length ? [{ kind: 'all' }] : [{ kind: 'folders' }, { kind: 'inFolders' }]
  return { parts, next }
}

const parseParts = (pattern: string): Part[] => {
  const chars = [...pattern]
  const parts: Part[] = []
  for (let at = 0; at < chars.length; ) {
    const char = chars[at] ?? ''
    if (char === '*') {
      const stars = readStars(chars, at)
      parts.push(...stars.parts)
      at = stars.next
    } else if (char === '[') {
      const read = readClass(chars, at + 1)
      parts.push(read.part)
      at = read.next
    } else if (char === '?') {
      parts.push({ kind: 'one' })
      at++
    } else {
      const meant = char === '\\' ? chars[at + 1] : char
      if (meant === undefined) throw bad()
      parts.push({ kind: 'char', char: meant })
      at += char === '\\' ? 2 : 1
    }
  }
  return parts
}

/** States are the part that comes next; the last one is the end. */
type States = Set<number>

const reach = (states: States, state: number, parts: Part[]): void => {
  let at = state
  for (;;) {
    if (states.has(at)) return
    states.add(at)
    const kind = parts[at]?.kind
    if (kind === 'segment' || kind === 'all') at++
    else if (kind === 'folders') {
      states.add(at + 1)
      at += 2
    } else return
  }
}

const takes = (part: Part, char: string): boolean => {
  if (part.kind === 'char') return part.char === char
  if (part.kind === 'class')
    return part.ranges.some(([low, high]) => low <= char && char <= high) !== part.negated
  return part.kind === 'all' || part.kind === 'inFolders' || char !== '/'
}

const step = (states: States, char: string, parts: Part[]): States => {
  const next: States = new Set()
  for (const at of states) {
    const part = parts[at]
    if (!part || part.kind === 'folders' || !takes(part, char)) continue
    if (part.kind === 'segment' || part.kind === 'all') reach(next, at, parts)
    else if (part.kind === 'inFolders') {
      next.add(at)
      if (char === '/') reach(next, at + 1, parts)
    } else reach(next, at + 1, parts)
  }
  return next
}

/** The states after all of the text. */
const follow = (parts: Part[], text: string): States => {
  let states: States = new Set()
  reach(states, 0, parts)
  for (const char of text) {
    if (states.size === 0) break
    states = step(states, char, parts)
  }
  return states
}

export interface IgnorePattern {
  text: string
  /** `!`: what it matches is not ignored. */
  isException: boolean
  matches(path: string): boolean
  /** Whether it could match something below this folder. */
  mayMatchBelow(folder: string): boolean
}

/** `**name` ends with the name, also within a segment, as long as nothing else in it is special. */
const isSuffix = (pattern: string): boolean =>
  pattern.startsWith('**') && !pattern.startsWith('**/') && !/[*?[\]\\]/.test(pattern.slice(2))

/** Errors: a class that does not end, an escape before nothing. */
export const parseIgnorePattern = (text: string, isException: boolean): IgnorePattern => {
  const base = { text, isException }
  const parts = parseParts(text)
  if (!/[*?[\]\\]/.test(text))
    return {
      ...base,
      matches: path => path === text,
      mayMatchBelow: folder => text.startsWith(`${folder}/`),
    }
  if (isSuffix(text)) {
    const suffix = text.slice(2)
    return { ...base, matches: path => path.endsWith(suffix), mayMatchBelow: () => true }
  }
  return {
    ...base,
    matches: path => follow(parts, path).has(parts.length),
    mayMatchBelow: folder => follow(parts, `${folder}/`).size > 0,
  }
}
