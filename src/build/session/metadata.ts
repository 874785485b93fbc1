/** Metadata of a call: names in lower case, with one value or several, each a field of its own. */
export type Metadata = Record<string, readonly string[]>

const plain = /^(?! )[\x20-\x7e]*(?<! )$/

/** Go's url.QueryEscape. */
const escaped = (value: string): string =>
  encodeURIComponent(value)
    .replace(/[!'()*]/g, char => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%20', '+')

/**
 * Texts that may hold anything, as the options of filesync travel: where a value
 * of a field is no plain ASCII, all of its values are escaped, and
 * `<name>-encoded` tells so. Fields without values are left out.
 */
export const encodeMetadata = (fields: Record<string, readonly string[] | undefined>): Metadata => {
  const encoded: Metadata = {}
  for (const [name, values] of Object.entries(fields)) {
    if (!values || values.length === 0) continue
    if (values.every(value => plain.test(value))) encoded[name] = values
    else {
      encoded[name] = values.map(escaped)
      encoded[`${name}-encoded`] = ['1']
    }
  }
  return encoded
}
