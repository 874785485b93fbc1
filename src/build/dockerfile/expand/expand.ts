import { quote } from '../characters.ts'
import { DockerfileError } from '../errors.ts'
import type { Escape, Expansion, Lookup } from '../types.ts'
import { Lexer, type LexOptions } from './lexer.ts'

/** Variables of a Dockerfile's words. Errors are DockerfileErrors without a place. */

/** Fails with the words of the shell's reader before what is wrong. */
const lex = (text: string, options: LexOptions): Expansion & { words: string[] } => {
  const lexer = new Lexer(text, options)
  try {
    const { value, words } = lexer.until(undefined)
    return { value, words, used: [...lexer.used], unset: [...lexer.unset] }
  } catch (error) {
    if (!(error instanceof DockerfileError)) throw error
    throw new DockerfileError(`failed to process ${quote(text)}: ${error.message}`)
  }
}

/** A word with its variables replaced, without quotes and escapes. Spaces stay. */
export const expandWord = (word: string, lookup: Lookup, escapeChar: Escape): Expansion => {
  const { value, used, unset } = lex(word, { escape: escapeChar, lookup })
  return { value, used, unset }
}

/** The same, split at spaces that are not quoted, after variables were replaced. */
export const expandWords = (
  text: string,
  lookup: Lookup,
  escapeChar: Escape,
): { words: string[]; used: string[]; unset: string[] } => {
  const { words, used, unset } = lex(text, { escape: escapeChar, lookup })
  return { words, used, unset }
}

/** A text that is no word: quotes are part of it, and `\` escapes whatever the file says. For the texts of heredocs. */
export const expandText = (text: string, lookup: Lookup): Expansion => {
  const { value, used, unset } = lex(text, { escape: '\\', lookup, plainQuotes: true })
  return { value, used, unset }
}

const nothing: Lookup = () => undefined

/** The words of a heredoc's mark, with and without their quotes: variables stay as written. */
export const unexpandedWords = (
  text: string,
  { keepQuotes, keepEscapes }: { keepQuotes: boolean; keepEscapes: boolean },
): string[] => lex(text, { escape: '\\', lookup: nothing, keepQuotes, keepEscapes, keepUnset: true }).words

/** A command with the variables that have a value, for people to read: quotes and what is unset stay. */
export const expandShown = (text: string, lookup: Lookup, escapeChar: Escape): string =>
  lex(text, { escape: escapeChar, lookup, keepQuotes: true, keepUnset: true }).value
