import { nowNanos, parseTime } from '../core/clock.ts'
import { badRequest } from '../core/errors.ts'

const units: Record<string, bigint> = {
  ns: 1n,
  us: 1_000n,
  µs: 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
}

/** A Go duration (`1h30m`, `500ms`) in nanoseconds; undefined if it is none. */
export const parseDuration = (text: string): bigint | undefined => {
  const parts = [...text.matchAll(/(\d+)(?:\.(\d+))?(ns|us|µs|ms|s|m|h)/g)]
  if (parts.length === 0 || parts.map(part => part[0]).join('') !== text) return undefined
  return parts.reduce((sum, [, whole = '0', fraction = '', unit = 's']) => {
    const size = units[unit] ?? 0n
    return (
      sum +
      BigInt(whole) * size +
      (fraction ? (BigInt(fraction) * size) / 10n ** BigInt(fraction.length) : 0n)
    )
  }, 0n)
}

/** A duration as Go writes it: `1m30s`, `1.5s`, `200ms`. */
export const formatDuration = (nanos: number): string => {
  if (nanos === 0) return '0s'
  if (nanos < 1e3) return `${nanos}ns`
  if (nanos < 1e6) return `${nanos / 1e3}µs`
  if (nanos < 1e9) return `${nanos / 1e6}ms`
  const seconds = nanos / 1e9
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)]
  const rest = `${Number((seconds % 60).toFixed(9))}s`
  if (hours > 0) return `${hours}h${minutes}m${rest}`
  return minutes > 0 ? `${minutes}m${rest}` : rest
}

const isoForms: [form: RegExp, fill: string][] = [
  [/^\d{4}-\d\d-\d\d$/, 'T00:00:00Z'],
  [/^\d{4}-\d\d-\d\dT\d\d$/, ':00:00Z'],
  [/^\d{4}-\d\d-\d\dT\d\d:\d\d$/, ':00Z'],
  [/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?$/, 'Z'],
]

/**
 * A point in time as `since` and `until` take it: seconds since the epoch with
 * a fraction, RFC 3339 or a shorter form of it, or a duration before now.
 * Nanoseconds. Errors: `bad-request`.
 */
export const parseTimestamp = (text: string): bigint => {
  const seconds = /^(-?\d+)(?:\.(\d{1,9}))?$/.exec(text)
  if (seconds?.[1] !== undefined)
    return BigInt(seconds[1]) * 1_000_000_000n + BigInt((seconds[2] ?? '').padEnd(9, '0'))
  const duration = parseDuration(text)
  if (duration !== undefined) return nowNanos() - duration
  for (const [form, fill] of isoForms) {
    const time = form.test(text) ? parseTime(text + fill) : undefined
    if (time !== undefined) return time
  }
  const time = parseTime(text)
  if (time === undefined) throw badRequest(`invalid timestamp: ${JSON.stringify(text)}`)
  return time
}
