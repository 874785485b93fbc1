import { badRequest } from '../../../core/errors.ts'
import type { LogOptions, LogSource } from './types.ts'

/** Labels and variables that a container's lines carry, by the options of all drivers. */
export const attributeOptions = ['env', 'env-regex', 'labels', 'labels-regex', 'tag']

/** Go's and JavaScript's expressions differ in little that anybody writes. */
const expression = (text: string): RegExp => {
  try {
    return new RegExp(text)
  } catch (error) {
    throw badRequest(`error parsing regexp: \`${text}\``, error)
  }
}

const chosen = (
  all: ReadonlyMap<string, string>,
  names: string | undefined,
  pattern: string | undefined,
): [string, string][] => {
  const wanted = new Set((names ?? '').split(',').filter(Boolean))
  const form = pattern ? expression(pattern) : undefined
  return [...all].filter(([key]) => wanted.has(key) || form?.test(key))
}

/** Errors: `bad-request` for an expression that is none. */
export const checkAttributes = (options: LogOptions): void => {
  for (const key of ['env-regex', 'labels-regex']) if (options[key]) expression(options[key])
}

/** In the order in which later ones win. `rename` makes a driver's field of a key. */
export const attributesOf = (
  source: LogSource,
  options: LogOptions,
  rename = (key: string): string => key,
): Record<string, string> => {
  const variables = new Map(
    source.env.flatMap(entry => {
      const at = entry.indexOf('=')
      return at < 0 ? [] : [[entry.slice(0, at), entry.slice(at + 1)] as const]
    }),
  )
  const pairs = [
    ...chosen(new Map(Object.entries(source.labels)), options['labels'], options['labels-regex']),
    ...chosen(variables, options['env'], options['env-regex']),
  ]
  return Object.fromEntries(pairs.map(([key, value]) => [rename(key), value]))
}
