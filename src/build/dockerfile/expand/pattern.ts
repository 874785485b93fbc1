import { DockerfileError } from '../errors.ts'

/**
 * Shell patterns of `${x#p}` and `${x/p/r}`: `*`, `?` and escapes, no brackets; neither crosses a line's end.
 * Matched by following all states at once, so that no pattern takes time beyond its length times the value's.
 */
type Part = { kind: 'char'; char: string } | { kind: 'any' } | { kind: 'star' }

/** A pattern's parts. Errors: an escape before anything but `*`, `?`, `\`, `}`, `/`. */
const parsePattern = (pattern: string): Part[] => {
  const chars = [...pattern]
  const parts: Part[] = []
  for (let at = 0; at < chars.length; at++) {
    const char = chars[at] ?? ''
    if (char === '*') parts.push({ kind: 'star' })
    else if (char === '?') parts.push({ kind: 'any' })
    else if (char !== '\\') parts.push({ kind: 'char', char })
    else {
      const next = chars[at + 1] ?? '\ufffd'
      if (next === '}' || next === '/') continue
      if (next !== '*' && next !== '?' && next !== '\\')
        throw new DockerfileError(`invalid pattern (${pattern}) in substitution: invalid escape '\\${next}'`)
      parts.push({ kind: 'char', char: next })
      at++
    }
  }
  return parts
}

interface Match {
  start: number
  end: number
}

interface Search {
  parts: Part[]
  chars: string[]
  from: number
  /** It has to begin at `from`. */
  anchored: boolean
  longest: boolean
}

/** For each state, a part that comes next, where its match began; -1 where the state is not reached. */
type States = Int32Array

const reach = (states: States, state: number, start: number, parts: Part[]): void => {
  for (let at = state; ; at++) {
    const known = states[at] ?? -1
    if (known >= 0 && known <= start) return
    states[at] = start
    if (parts[at]?.kind !== 'star') return
  }
}

const step = (
  states: States,
  char: string,
  parts: Part[],
  bound: number,
): { next: States; alive: boolean } => {
  const next = new Int32Array(parts.length + 1).fill(-1)
  let alive = false
  for (let at = 0; at < parts.length; at++) {
    const start = states[at] ?? -1
    const part = parts[at]
    if (start < 0 || start > bound || !part) continue
    if (part.kind === 'char' ? part.char !== char : char === '\n') continue
    alive = true
    reach(next, part.kind === 'star' ? at : at + 1, start, parts)
  }
  return { next, alive }
}

/** The leftmost match, the longest or shortest of those. */
const search = ({ parts, chars, from, anchored, longest }: Search): Match | undefined => {
  let found: Match | undefined
  let states: States = new Int32Array(parts.length + 1).fill(-1)
  for (let at = from; at <= chars.length; at++) {
    if (at === from || (!anchored && !found)) reach(states, 0, at, parts)
    const start = states[parts.length] ?? -1
    if (start >= 0 && (!found || start <= found.start)) {
      if (!longest) return { start, end: at }
      found = { start, end: at }
    }
    const char = chars[at]
    if (char === undefined) break
    const { next, alive } = step(states, char, parts, found?.start ?? Number.POSITIVE_INFINITY)
    if (!alive && (found || anchored)) break
    states = next
  }
  return found
}

export interface Trim {
  side: 'start' | 'end'
  longest: boolean
}

/** `${x#p}`, `${x##p}`, `${x%p}`, `${x%%p}`. */
export const trimPattern = (value: string, pattern: string, { side, longest }: Trim): string => {
  const parts = parsePattern(pattern)
  const chars = [...value]
  if (side === 'end') {
    parts.reverse()
    chars.reverse()
  }
  const match = search({ parts, chars, from: 0, anchored: true, longest })
  const rest = match ? chars.slice(match.end) : chars
  return (side === 'end' ? rest.reverse() : rest).join('')
}

/** `${x/p/r}` and, with `all`, `${x//p/r}`. */
export const replacePattern = (value: string, pattern: string, replacement: string, all: boolean): string => {
  const parts = parsePattern(pattern)
  const chars = [...value]
  const out: string[] = []
  let copied = 0
  for (let from = 0; from <= chars.length; ) {
    const match = search({ parts, chars, from, anchored: false, longest: true })
    if (!match) break
    const isEmptyAfterAnother = match.end === match.start && match.start === copied && copied > 0
    if (!isEmptyAfterAnother) {
      out.push(chars.slice(copied, match.start).join(''), replacement)
      copied = match.end
      if (!all) break
    }
    from = match.end > match.start ? match.end : match.end + 1
  }
  return out.join('') + chars.slice(copied).join('')
}
