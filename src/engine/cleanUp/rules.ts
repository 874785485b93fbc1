import { badRequest } from '../../core/errors.ts'
import { parseSize } from '../../wire/sizes.ts'
import { durationOf } from '../images/cleanUp/limits.ts'
import { keepRule } from './plan.ts'
import { type CleanedType, type CleanUpRules, type CleanUpSettings, cleanedTypes } from './types.ts'

/** The rules of the clean-up, as daemon.json and requests write them. */

const keysOf: Record<CleanedType, readonly string[]> = {
  container: ['max-age', 'max-size', 'keep-last', 'keep'],
  network: ['max-age', 'keep-last', 'keep'],
  volume: ['max-age', 'max-size', 'keep-last', 'keep', 'named'],
}

const wrong = (name: string, value: unknown, want: string): Error =>
  badRequest(`invalid value ${JSON.stringify(value)} for ${name}: want ${want}`)

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const textOf = (name: string, value: unknown, want: string): string => {
  if (typeof value !== 'string') throw wrong(name, value, want)
  return value
}

const sizeOf = (name: string, value: unknown): number => {
  const want = 'a size as 20GB'
  const size = parseSize(textOf(name, value, want))
  if (size === undefined) throw wrong(name, value, want)
  return size
}

const keepOf = (name: string, value: unknown): string[] => {
  const want = 'a list of label=<key>[=<value>], label!=<key>[=<value>] or name=<pattern>'
  if (!Array.isArray(value)) throw wrong(name, value, want)
  for (const rule of value) if (typeof rule !== 'string' || !keepRule(rule)) throw wrong(name, rule, want)
  return value as string[]
}

const countOf = (name: string, value: unknown): number => {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0)
    throw wrong(name, value, 'a number of objects')
  return value
}

const truthOf = (name: string, value: unknown): boolean => {
  if (typeof value !== 'boolean') throw wrong(name, value, 'true or false')
  return value
}

const rulesOf = (type: CleanedType, path: string, given: unknown): CleanUpRules => {
  if (!isObject(given)) throw wrong(path, given, `an object with ${keysOf[type].join(', ')}`)
  const unknown = Object.keys(given).filter(key => !keysOf[type].includes(key))
  if (unknown.length)
    throw badRequest(`${path}: unknown ${unknown.join(', ')}: use ${keysOf[type].join(', ')}`)
  const name = (key: string): string => `${path}: ${key}`
  const age = given['max-age']
  const size = given['max-size']
  if (age === undefined && size === undefined)
    throw badRequest(
      `${path}: no limit is set: give ${keysOf[type].includes('max-size') ? 'max-age or max-size' : 'max-age'}`,
    )
  return {
    ...(age === undefined
      ? {}
      : { maxAge: durationOf(name('max-age'), textOf(name('max-age'), age, 'a duration as 720h or 90m')) }),
    ...(size === undefined ? {} : { maxSize: sizeOf(name('max-size'), size) }),
    keepLast: countOf(name('keep-last'), given['keep-last'] ?? 0),
    keep: keepOf(name('keep'), given['keep'] ?? []),
    named: truthOf(name('named'), given['named'] ?? false),
  }
}

/** `{"containers": {"max-age": "168h"}, …}`. Errors: `bad-request` that names the key. */
export const cleanUpRules = (path: string, given: Record<string, unknown>): CleanUpSettings => {
  const known = cleanedTypes.map(type => `${type}s`)
  const unknown = Object.keys(given).filter(key => !known.includes(key))
  if (unknown.length) throw badRequest(`${path}: unknown ${unknown.join(', ')}: use ${known.join(', ')}`)
  return Object.fromEntries(
    cleanedTypes.flatMap(type => {
      const rules = given[`${type}s`]
      return rules === undefined ? [] : [[type, rulesOf(type, `${path}: ${type}s`, rules)]]
    }),
  )
}

export const hasRules = (settings: CleanUpSettings): boolean => Object.keys(settings).length > 0
