import { badRequest } from '../core/errors.ts'

/**
 * Decoders that read JSON as Go's encoding/json does: keys match whatever their
 * case, null is absent (and the zero value within lists and maps), unknown keys
 * are ignored; a wrong type is refused with the field's name.
 */
export type Decoder<T> = (value: unknown, path: string) => T

export type Decoded<D> = D extends Decoder<infer T> ? T : never

const kindOf = (value: unknown): string =>
  value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value

const wrong = (path: string, want: string, value: unknown): Error =>
  badRequest(`invalid JSON: ${path || 'the body'} must be ${want}, not ${kindOf(value)}`)

export const string: Decoder<string> = (value, path) => {
  if (value === null) return ''
  if (typeof value !== 'string') throw wrong(path, 'a string', value)
  return value
}

export const bool: Decoder<boolean> = (value, path) => {
  if (value === null) return false
  if (typeof value !== 'boolean') throw wrong(path, 'true or false', value)
  return value
}

/** An integer that a double holds exactly; larger ones are refused rather than rounded. */
export const int: Decoder<number> = (value, path) => {
  if (value === null) return 0
  if (typeof value !== 'number') throw wrong(path, 'an integer', value)
  if (!Number.isSafeInteger(value))
    throw badRequest(`invalid JSON: ${path} must be an integer within ±2^53, not ${value}`)
  return value
}

/** Go's `{}`-valued sets and other members whose content does not matter. */
export const empty: Decoder<object> = () => ({})

export const list =
  <T>(item: Decoder<T>): Decoder<T[]> =>
  (value, path) => {
    if (value === null) return []
    if (!Array.isArray(value)) throw wrong(path, 'a list', value)
    return value.map((entry, index) => item(entry, `${path}[${index}]`))
  }

/** Keys as they are; a null value is passed on only if `item` takes it. */
export const map =
  <T>(item: Decoder<T>): Decoder<Record<string, T>> =>
  (value, path) => {
    if (value === null) return {}
    if (kindOf(value) !== 'object') throw wrong(path, 'an object', value)
    const result: Record<string, T> = {}
    for (const [key, entry] of Object.entries(value as object)) result[key] = item(entry, `${path}.${key}`)
    return result
  }

export const nullable =
  <T>(item: Decoder<T>): Decoder<T | null> =>
  (value, path) =>
    value === null ? null : item(value, path)

/** A string or a list of strings, always given as a list (Docker's `strslice`). */
export const strings: Decoder<string[]> = (value, path) =>
  typeof value === 'string' ? [value] : list(string)(value, path)

type Fields = Record<string, Decoder<unknown>>
type ObjectOf<F extends Fields> = { [K in keyof F]?: Decoded<F[K]> }

/** An object with these fields, each absent where the JSON has no such key or null. */
export const object = <F extends Fields>(fields: F): Decoder<ObjectOf<F>> => {
  const byLower = new Map(Object.keys(fields).map(name => [name.toLowerCase(), name]))
  return (value, path) => {
    if (value === null) return {}
    if (kindOf(value) !== 'object') throw wrong(path, 'an object', value)
    const result: Record<string, unknown> = {}
    for (const [key, entry] of Object.entries(value as object)) {
      const name = Object.hasOwn(fields, key) ? key : byLower.get(key.toLowerCase())
      const decode = name === undefined ? undefined : fields[name]
      if (name === undefined || !decode || entry === null) continue
      result[name] = decode(entry, path === '' ? name : `${path}.${name}`)
    }
    return result as ObjectOf<F>
  }
}

/** Both objects' fields from one JSON object. */
export const both =
  <A, B>(a: Decoder<A>, b: Decoder<B>): Decoder<A & B> =>
  (value, path) => ({ ...a(value, path), ...b(value, path) })

/** Decodes a body's text. Errors: `bad-request` that names the field. */
export const decodeJson = <T>(text: string, decoder: Decoder<T>): T => {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw badRequest(`invalid JSON: ${error instanceof Error ? error.message : String(error)}`, error)
  }
  return decoder(value, '')
}
