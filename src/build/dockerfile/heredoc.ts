import { DockerfileError } from './errors.ts'
import { unexpandedWords } from './expand/expand.ts'
import { type Lines, type LogicalLine, withoutLineEnd } from './lines.ts'
import type { Heredoc } from './types.ts'

/** The mark of a heredoc, `<<NAME`: all but its text. */
export type HeredocMark = Omit<Heredoc, 'content' | 'range'>

const quotes = (word: string): number => word.split(/['"]/).length

/** The mark that a word is; undefined if it is none. Errors: quotes that do not end. */
const readMark = (word: string): HeredocMark | undefined => {
  const [descriptor = '', behind] = word.split('<<', 2)
  if (behind === undefined || !/^\d*$/.test(descriptor)) return undefined
  const chomp = behind.startsWith('-')
  const rest = behind.slice(chomp ? 1 : 0).trimStart()
  if (rest === '' || word.slice(descriptor.length + 2).includes('<')) return undefined
  const [name, more] = unexpandedWords(rest, { keepQuotes: false, keepEscapes: false })
  if (name === undefined || more !== undefined) return undefined
  const [raw = ''] = unexpandedWords(rest, { keepQuotes: true, keepEscapes: false })
  const fd = Number(descriptor)
  return {
    name,
    descriptor: Number.isSafeInteger(fd) ? fd : Number.MAX_SAFE_INTEGER,
    expand: quotes(name) === quotes(raw),
    chomp,
  }
}

/** The mark that a word is; undefined if it is none or one with an error. */
export const heredocMark = (word: string): HeredocMark | undefined => {
  try {
    return readMark(word)
  } catch (error) {
    if (error instanceof DockerfileError) return undefined
    throw error
  }
}

/** The marks of a line; none where its quotes do not end, which may be right for another shell. */
const marksIn = (line: string): HeredocMark[] => {
  let words: string[]
  try {
    words = unexpandedWords(line, { keepQuotes: true, keepEscapes: true })
  } catch (error) {
    if (error instanceof DockerfileError) return []
    throw error
  }
  return words.flatMap(word => readMark(word) ?? [])
}

/** Without the tabs that its lines begin with: `<<-`. */
export const chomped = (content: string): string => content.replace(/(^|\n)\t+/g, '$1')

/** Reads the texts of the marks in a line, and lets the line end with them. Errors: a text that does not end. */
export const readHeredocs = (line: LogicalLine, lines: Lines): Heredoc[] => {
  if (!line.text.includes('<<')) return []
  return marksIn(line.text).map(mark => {
    const parts: string[] = []
    const start = { line: lines.number + 1, column: 0 }
    for (;;) {
      const raw = lines.next()
      line.range = { start: line.range.start, end: lines.range.end }
      if (raw === undefined) throw new DockerfileError('unterminated heredoc')
      const text = withoutLineEnd(raw)
      if ((mark.chomp ? text.replace(/^\t+/, '') : text) === mark.name) break
      parts.push(raw)
    }
    return { ...mark, content: parts.join(''), range: { start, end: line.range.end } }
  })
}
