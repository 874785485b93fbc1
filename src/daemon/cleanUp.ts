import { badRequest } from '../core/errors.ts'
import { cleanUpRules } from '../engine/cleanUp/rules.ts'
import { cleanUpLimits, durationOf, type GivenLimits } from '../engine/images/cleanUp/limits.ts'
import type { EngineSettings, ImageCleanUp } from '../engine/settings.ts'
import type { Given } from './flags.ts'

/** `image-clean-up` and `clean-up` of daemon.json: off where they have no limit. */

const keys = ['max-size', 'max-age', 'min-free', 'keep', 'interval']
const defaultInterval = '24h'
/** Milliseconds. */
const leastInterval = 10_000

const textOf = (given: Record<string, unknown>, key: string): string | undefined => {
  const value = given[key]
  if (value === undefined || typeof value === 'string') return value
  throw badRequest(`image-clean-up: ${key} must be a text, not ${JSON.stringify(value)}`)
}

const keepOf = ({ keep = [] }: Record<string, unknown>): string[] => {
  if (Array.isArray(keep) && keep.every(rule => typeof rule === 'string')) return keep
  throw badRequest(`image-clean-up: keep must be a list of texts, not ${JSON.stringify(keep)}`)
}

const intervalOf = (text: string): number => {
  const interval = text === '0' ? 0 : durationOf('interval', text)
  if (interval !== 0 && interval < leastInterval)
    throw badRequest(
      `invalid value ${JSON.stringify(text)} for interval: at least 10s, or 0 for a clean-up on demand only`,
    )
  return interval
}

const optional = <K extends string>(key: K, value: string | undefined): Partial<Record<K, string>> =>
  value === undefined ? {} : ({ [key]: value } as Record<K, string>)

/** Errors: `bad-request` that names the key. */
export const imageCleanUpOf = (values: Given): ImageCleanUp => {
  const given = (values.get('image-clean-up') ?? {}) as Record<string, unknown>
  const unknown = Object.keys(given).filter(key => !keys.includes(key))
  if (unknown.length > 0)
    throw badRequest(`image-clean-up: unknown ${unknown.join(', ')}: use ${keys.join(', ')}`)
  const limits: GivenLimits = {
    ...optional('maxSize', textOf(given, 'max-size')),
    ...optional('maxAge', textOf(given, 'max-age')),
    ...optional('minFree', textOf(given, 'min-free')),
    keep: keepOf(given),
  }
  const interval = intervalOf(textOf(given, 'interval') ?? defaultInterval)
  try {
    return { ...cleanUpLimits(limits), interval }
  } catch (error) {
    throw badRequest(`image-clean-up: ${error instanceof Error ? error.message : error}`, error)
  }
}

/** Errors: `bad-request` that names the key. */
export const cleanUpOf = (values: Given): Pick<EngineSettings, 'cleanUp' | 'cleanUpInterval'> => {
  const { interval = defaultInterval, ...rules } = (values.get('clean-up') ?? {}) as Record<string, unknown>
  if (typeof interval !== 'string')
    throw badRequest(`clean-up: interval must be a text, not ${JSON.stringify(interval)}`)
  try {
    return { cleanUpInterval: intervalOf(interval), cleanUp: cleanUpRules('clean-up', rules) }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw badRequest(message.startsWith('clean-up') ? message : `clean-up: ${message}`, error)
  }
}
