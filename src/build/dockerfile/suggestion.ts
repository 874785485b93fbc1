/** What was probably meant: the nearest option within two edits. */

const tooFar = 3

/** Edits between the characters of two words (Levenshtein); `tooFar` and more are all the same. */
const distance = (from: string[], to: string[]): number => {
  if (Math.abs(from.length - to.length) >= tooFar) return tooFar
  let row = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (const [index, char] of from.entries()) {
    const next = [index + 1]
    for (let column = 1; column <= to.length; column++)
      next.push(
        Math.min(
          (row[column] ?? tooFar) + 1,
          (next[column - 1] ?? tooFar) + 1,
          (row[column - 1] ?? tooFar) + (to[column - 1] === char ? 0 : 1),
        ),
      )
    row = next
  }
  return row[to.length] ?? tooFar
}

/** Undefined where nothing is near, or where the word is one of the options. */
export const suggest = (word: string, options: Iterable<string>): string | undefined => {
  const chars = [...word]
  let nearest: string | undefined
  let least = tooFar
  for (const option of options) {
    if (option === word) return undefined
    const edits = distance(chars, [...option])
    if (edits < least) [nearest, least] = [option, edits]
  }
  return nearest
}

/** `message (did you mean option?)` where an option is near. */
export const withSuggestion = (message: string, word: string, options: Iterable<string>): string => {
  const option = suggest(word, options)
  return option === undefined ? message : `${message} (did you mean ${option}?)`
}
