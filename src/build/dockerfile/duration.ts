import { quote } from './characters.ts'
import { DockerfileError } from './errors.ts'

const units: Record<string, number> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
}

const part = /(\d+\.?\d*|\.\d+)([^\d.]*)/y

/** Nanoseconds of `1m30s`. Errors: in Go's words. */
export const readDuration = (text: string): number => {
  const isNegative = text.startsWith('-')
  const rest = /^[+-]/.test(text) ? text.slice(1) : text
  if (rest === '0') return 0
  let sum = 0
  let at = 0
  do {
    part.lastIndex = at
    const [whole, number, unit = ''] = part.exec(rest) ?? []
    if (whole === undefined) throw new DockerfileError(`time: invalid duration ${quote(text)}`)
    if (unit === '') throw new DockerfileError(`time: missing unit in duration ${quote(text)}`)
    const size = Object.hasOwn(units, unit) ? units[unit] : undefined
    if (size === undefined)
      throw new DockerfileError(`time: unknown unit ${quote(unit)} in duration ${quote(text)}`)
    sum += Number(number) * size
    at += whole.length
  } while (at < rest.length)
  if (sum > 2 ** 63) throw new DockerfileError(`time: invalid duration ${quote(text)}`)
  return Math.floor(isNegative ? -sum : sum)
}
