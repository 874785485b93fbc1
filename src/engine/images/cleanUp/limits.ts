import { badRequest } from '../../../core/errors.ts'
import { Filters } from '../../../wire/filters.ts'
import { parseSize } from '../../../wire/sizes.ts'
import { parseDuration } from '../../../wire/timestamps.ts'
import type { CleanUpLimits } from '../../settings.ts'

/** The limits of the clean-up of images, as daemon.json and requests write them. */

export interface GivenLimits {
  maxSize?: string
  maxAge?: string
  minFree?: string
  keep?: readonly string[]
}

/** Filters that protect images. */
const keepKeys = ['label', 'label!', 'reference']

const wrong = (name: string, value: unknown, want: string): Error =>
  badRequest(`invalid value ${JSON.stringify(value)} for ${name}: want ${want}`)

const sizeOf = (name: string, text: string): number => {
  const size = parseSize(text)
  if (size === undefined) throw wrong(name, text, 'a size as 20GB')
  return size
}

/** `90m`, `720h`. Milliseconds. Errors: `bad-request` that names the option. */
export const durationOf = (name: string, text: string): number => {
  const nanos = parseDuration(text)
  if (nanos === undefined) throw wrong(name, text, 'a duration as 720h or 90m')
  return Number(nanos / 1_000_000n)
}

const freeOf = (text: string): NonNullable<CleanUpLimits['minFree']> => {
  const percent = /^(\d+(?:\.\d+)?)%$/.exec(text)?.[1]
  if (percent === undefined) {
    const bytes = parseSize(text)
    if (bytes === undefined) throw wrong('min-free', text, 'a size as 20GB, or a part of the disk as 10%')
    return { bytes }
  }
  if (Number(percent) >= 100) throw wrong('min-free', text, 'less than 100%')
  return { share: Number(percent) / 100 }
}

/** `label=keep`, `reference=registry.example/*`: as the filter that it is. Errors: `bad-request`. */
export const keepFilter = (rule: string): Filters => {
  const at = rule.indexOf('=')
  const [key, value] = [rule.slice(0, Math.max(at, 0)), rule.slice(at + 1)]
  if (!keepKeys.includes(key) || value === '')
    throw wrong('keep', rule, 'label=<key>[=<value>], label!=<key>[=<value>] or reference=<pattern>')
  return Filters.parse(JSON.stringify({ [key]: [value] }), keepKeys)
}

/** Errors: `bad-request` that names the option. */
export const cleanUpLimits = ({ maxSize, maxAge, minFree, keep = [] }: GivenLimits): CleanUpLimits => {
  for (const rule of keep) keepFilter(rule)
  return {
    ...(maxSize === undefined ? {} : { maxSize: sizeOf('max-size', maxSize) }),
    ...(maxAge === undefined ? {} : { maxAge: durationOf('max-age', maxAge) }),
    ...(minFree === undefined ? {} : { minFree: freeOf(minFree) }),
    keep: [...keep],
  }
}

/** Whether there is anything that an image could go for. */
export const hasLimit = ({ maxSize, maxAge, minFree }: CleanUpLimits): boolean =>
  maxSize !== undefined || maxAge !== undefined || minFree !== undefined
