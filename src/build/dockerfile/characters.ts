/** Characters as Go's `unicode` and `strconv` see them, which Dockerfiles are written for. */

/** `unicode.IsSpace` of a UTF-16 unit. */
export const isSpaceCode = (code: number): boolean =>
  code === 0x20 ||
  (code >= 0x09 && code <= 0x0d) ||
  (code >= 0x85 &&
    (code === 0x85 ||
      code === 0xa0 ||
      code === 0x1680 ||
      (code >= 0x2000 && code <= 0x200a) ||
      code === 0x2028 ||
      code === 0x2029 ||
      code === 0x202f ||
      code === 0x205f ||
      code === 0x3000))

export const isSpace = (char: string): boolean => char !== '' && isSpaceCode(char.charCodeAt(0))

/** Where what is not space begins in `text`, from `from` on. */
export const skipSpace = (text: string, from = 0): number => {
  let at = from
  while (at < text.length && isSpaceCode(text.charCodeAt(at))) at++
  return at
}

export const trimStart = (text: string): string => text.slice(skipSpace(text))

export const trimSpace = (text: string): string => {
  const start = skipSpace(text)
  let end = text.length
  while (end > start && isSpaceCode(text.charCodeAt(end - 1))) end--
  return text.slice(start, end)
}

/** What separates words of an instruction; other spaces are part of words. */
export const isSeparator = (char: string | undefined): boolean =>
  char === ' ' || char === '\t' || char === '\v' || char === '\f' || char === '\r'

const escapes: Record<string, string> = { '\\u0007': '\\a', '\\u000b': '\\v' }

const hex = (point: number): string => {
  const digits = point.toString(16)
  if (point < 0x80) return `\\x${digits.padStart(2, '0')}`
  return point < 0x10000 ? `\\u${digits.padStart(4, '0')}` : `\\U${digits.padStart(8, '0')}`
}

/** `%q`: JSON's quotes with Go's escapes, also of what cannot be seen. */
export const quote = (text: string): string =>
  JSON.stringify(text)
    .replace(/\\u000b|\\u0007|\\u00([01][0-9a-f])|\\[^u]/g, (sequence, digits?: string) =>
      digits ? `\\x${digits}` : (escapes[sequence] ?? sequence),
    )
    .replace(/[\p{C}\p{Z}]/gu, char => (char === ' ' ? char : hex(char.codePointAt(0) ?? 0)))
