import { badRequest } from '../core/errors.ts'
import { truthOf } from './truth.ts'

/** The `filters` query parameter: which values are wanted for each key. */
export class Filters {
  readonly #values: Map<string, Set<string>>

  private constructor(values: Map<string, Set<string>>) {
    this.#values = values
  }

  /**
   * Reads `{"key":["a","b"]}` and the older `{"key":{"a":true}}`. Keys that are
   * not in `known` are refused. Errors: `bad-request` with Docker's words.
   */
  static parse(text: string | undefined, known: readonly string[]): Filters {
    const values = new Map<string, Set<string>>()
    if (text === undefined || text === '') return new Filters(values)
    for (const [key, entry] of Object.entries(Filters.#read(text))) {
      if (!known.includes(key)) throw badRequest(`invalid filter '${key}'`)
      const wanted = Array.isArray(entry)
        ? entry
        : Object.entries(entry as object).flatMap(([value, on]) => (on ? [value] : []))
      values.set(key, new Set(wanted.map(String)))
    }
    return new Filters(values)
  }

  static #read(text: string): object {
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch (error) {
      throw badRequest('invalid filter', error)
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw badRequest('invalid filter')
    for (const entry of Object.values(value))
      if (typeof entry !== 'object' || entry === null) throw badRequest('invalid filter')
    return value
  }

  /** The same filters but one. */
  without(key: string): Filters {
    const rest = new Map(this.#values)
    rest.delete(key)
    return new Filters(rest)
  }

  has(key: string): boolean {
    return (this.#values.get(key)?.size ?? 0) > 0
  }

  get(key: string): string[] {
    return [...(this.#values.get(key) ?? [])]
  }

  /** True where the key was not given, or one of its values equals this one. */
  exact(key: string, value: string): boolean {
    const wanted = this.#values.get(key)
    return !wanted || wanted.size === 0 || wanted.has(value)
  }

  /** True where the key was not given, or a predicate holds for one of its values. */
  some(key: string, test: (wanted: string) => boolean): boolean {
    const wanted = this.#values.get(key)
    if (!wanted || wanted.size === 0) return true
    for (const value of wanted) if (test(value)) return true
    return false
  }

  /** True where each wanted `key` or `key=value` is among the labels. */
  labels(key: string, labels: Record<string, string> | undefined): boolean {
    return this.get(key).every(wanted => {
      const [name = '', ...rest] = wanted.split('=')
      const have = labels?.[name]
      return have !== undefined && (rest.length === 0 || have === rest.join('='))
    })
  }

  /** The one boolean of a key. Errors: `bad-request`. */
  flag(key: string): boolean | undefined {
    const [value, ...more] = this.get(key)
    if (value === undefined) return undefined
    const truth = more.length === 0 ? truthOf(value) : undefined
    if (truth === undefined) throw badRequest(`invalid filter '${key}=[${[value, ...more].join(' ')}]'`)
    return truth
  }
}
