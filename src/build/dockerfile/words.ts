import { isSeparator, isSpaceCode, skipSpace, trimSpace } from './characters.ts'
import type { Piece } from './lines.ts'
import type { Escape } from './types.ts'

/** How instructions are split: each function gives pieces with offsets from `base` on. */

const piece = (text: string, start: number, end: number, base: number): Piece => ({
  value: text.slice(start, end),
  start: base + start,
  end: base + end,
})

/** The text without spaces around it. */
export const trimmedPiece = (text: string, base: number): Piece => {
  const start = skipSpace(text)
  return piece(text, start, start + trimSpace(text).length, base)
}

/** Before and behind the first separators; `rest` is undefined where there are none. */
export const splitOnce = (text: string, base: number): { first: Piece; rest?: Piece } => {
  let end = 0
  while (end < text.length && !isSeparator(text[end])) end++
  const first = piece(text, 0, end, base)
  if (end === text.length) return { first }
  let next = end
  while (isSeparator(text[next])) next++
  return { first, rest: piece(text, next, text.length, base) }
}

/** All words between separators. */
export const splitAll = ({ value, start }: Piece): Piece[] => {
  const words: Piece[] = []
  for (let at = 0; at < value.length; ) {
    let end = at
    while (end < value.length && !isSeparator(value[end])) end++
    words.push(piece(value, at, end, start))
    at = end
    while (isSeparator(value[at])) at++
  }
  return words
}

/** Words as a shell splits them; quotes and escapes stay in them. */
export const splitQuoted = ({ value: text, start: base }: Piece, escapeChar: Escape): Piece[] => {
  const words: Piece[] = []
  for (let at = skipSpace(text); at < text.length; at = skipSpace(text, at)) {
    const start = at
    let open = ''
    let dangling = 0
    for (; at < text.length && (open !== '' || !isSpaceCode(text.charCodeAt(at))); at++) {
      const char = text[at]
      if (char === escapeChar && open !== "'") {
        if (at + 1 === text.length) dangling = 1
        else at++
      } else if (open === '' && (char === '"' || char === "'")) open = char
      else if (char === open) open = ''
    }
    const word = piece(text, start, Math.min(at, text.length) - dangling, base)
    if (word.value !== '') words.push(word)
  }
  return words
}

interface Flags {
  flags: Piece[]
  rest: Piece
}

/** Flags are parted by these alone, as BuildKit reads them byte by byte. */
const skipSeparators = (text: string, from: number): number => {
  let at = from
  while (isSeparator(text[at])) at++
  return at
}

/** A flag without its quotes and escapes, and where it ends. */
const readFlag = (text: string, from: number, escapeChar: Escape): { value: string; end: number } => {
  const value: string[] = []
  let open = ''
  let at = from
  for (; at < text.length && (open !== '' || !isSeparator(text[at])); at++) {
    const char = text[at] ?? ''
    if (open !== '' && char === open) open = ''
    else if (open === '' && (char === '"' || char === "'")) open = char
    else if (char !== escapeChar) value.push(char)
    else if (at + 1 < text.length) value.push(text[++at] ?? '')
  }
  return { value: value.join(''), end: at }
}

/** Leading `--flag`s, up to `--` or what is none. */
export const splitFlags = ({ value: text, start: base }: Piece, escapeChar: Escape): Flags => {
  const flags: Piece[] = []
  let at = skipSeparators(text, 0)
  while (text.startsWith('--', at) && at < text.length) {
    const { value, end } = readFlag(text, at, escapeChar)
    if (value !== '--') flags.push({ value, start: base + at, end: base + end })
    at = end
    if (value === '--') break
    at = skipSeparators(text, at)
  }
  return { flags, rest: trimmedPiece(text.slice(at), base + at) }
}
