/** The `WWW-Authenticate` header (RFC 9110, 11.6.1): challenges as a list, each with a scheme and parameters. */

export interface Challenge {
  /** Lower case: `basic`, `bearer`. */
  scheme: string
  /** Names in lower case. */
  parameters: Record<string, string>
}

const token = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y
const blank = /[ \t]*/y
const blankOrComma = /[ \t,]*/y
const quoted = /"((?:[^"\\]|\\[\s\S])*)"/y
/** What some servers send unquoted though it is no token: URLs, base64. */
const bare = /[^",\s]+/y

interface Cursor {
  text: string
  at: number
}

const take = (cursor: Cursor, form: RegExp): string | undefined => {
  form.lastIndex = cursor.at
  const match = form.exec(cursor.text)
  if (!match) return undefined
  cursor.at += match[0].length
  return match[1] ?? match[0]
}

/** `name = value`; undefined and the cursor unmoved where there is none, as where the next challenge begins. */
const takeParameter = (cursor: Cursor): [name: string, value: string] | undefined => {
  const start = cursor.at
  const name = take(cursor, token)
  take(cursor, blank)
  if (name !== undefined && cursor.text[cursor.at] === '=') {
    cursor.at += 1
    take(cursor, blank)
    const text = take(cursor, quoted)
    if (text !== undefined) return [name.toLowerCase(), text.replace(/\\([\s\S])/g, '$1')]
    return [name.toLowerCase(), take(cursor, bare) ?? '']
  }
  cursor.at = start
  return undefined
}

const takeChallenge = (cursor: Cursor): Challenge | undefined => {
  take(cursor, blankOrComma)
  const scheme = take(cursor, token)
  if (scheme === undefined) return undefined
  const parameters = new Map<string, string>()
  for (;;) {
    take(cursor, blankOrComma)
    const parameter = takeParameter(cursor)
    if (!parameter) return { scheme: scheme.toLowerCase(), parameters: Object.fromEntries(parameters) }
    if (!parameters.has(parameter[0])) parameters.set(...parameter)
  }
}

/** All challenges of all header lines, in order; what is no challenge ends the reading of its line. */
export const parseChallenges = (header: string | string[] | undefined): Challenge[] =>
  [header ?? []].flat().flatMap(text => {
    const cursor = { text, at: 0 }
    const found: Challenge[] = []
    for (let next = takeChallenge(cursor); next; next = takeChallenge(cursor)) found.push(next)
    return found
  })
