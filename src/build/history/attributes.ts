/** `https://user:word@host` and `https://token@host`: who may see a record need not have what opens another door. */
const userOfAddress = /(\b[a-z][a-z0-9+.-]{0,20}:\/\/)[^\s/?#@"']*@/gi

/** `ssh://git@host` says who asks, and holds no secret. */
export const withoutPasswords = (text: string): string =>
  text.replace(userOfAddress, (whole, scheme: string) => {
    const user = whole.slice(scheme.length, -1)
    return scheme.toLowerCase() === 'ssh://' && !user.includes(':') ? whole : `${scheme}xxxxx@`
  })

/** A value that is longer is cut; bytes matter little here, so characters are counted. */
const mostOfValue = 64 << 10

const shortened = (text: string): string =>
  text.length > mostOfValue ? `${text.slice(0, mostOfValue)}… [cut: ${text.length} characters]` : text

/** Attributes as they may be kept. */
export const keptAttributes = (attributes: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(attributes).map(([name, value]) => [name, withoutPasswords(shortened(value))]),
  )
