import { badRequest } from '../core/errors.ts'

/** Number fields of tar headers: octal text, or base-256 where the first bit is set. */

const corrupt = (field: string): Error => badRequest(`invalid tar header: ${field} is not a number`)

/** Big-endian two's complement without the marker bit (GNU's base-256). */
const base256 = (block: Uint8Array, at: number, length: number): bigint => {
  const first = block[at] ?? 0
  let value = first & 0x40 ? BigInt(first & 0x7f) - 0x80n : BigInt(first & 0x3f)
  for (let i = 1; i < length; i++) value = (value << 8n) | BigInt(block[at + i] ?? 0)
  return value
}

export interface Field {
  at: number
  length: number
  /** For the error's text. */
  name: string
}

/** A whole number that JavaScript holds exactly; blank is 0. Errors: `bad-request`. */
export const readNumber = (block: Uint8Array, field: Field): number => {
  if ((block[field.at] ?? 0) & 0x80) {
    const value = Number(base256(block, field.at, field.length))
    if (!Number.isSafeInteger(value)) throw corrupt(field.name)
    return value
  }
  let value = 0
  let digits = 0
  for (let i = field.at, end = field.at + field.length; i < end; i++) {
    const byte = block[i] ?? 0
    if (byte >= 48 && byte <= 55) {
      value = value * 8 + (byte - 48)
      digits++
    } else if (byte !== 0 && byte !== 32) throw corrupt(field.name)
    else if (digits > 0) break
  }
  return value
}

/** Decimal text of a PAX record that must be a whole number of at least 0. */
export const parseCount = (text: string, name: string): number => {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value)) throw badRequest(`invalid PAX record: ${name}=${text.slice(0, 64)}`)
  return value
}

/** Nanoseconds of a PAX time, `[-]seconds[.fraction]`; digits past the ninth are cut. */
export const parsePaxTime = (text: string, name: string): bigint => {
  const match = /^(-?)(\d{1,12})(?:\.(\d*))?$/.exec(text)
  if (!match?.[2]) throw badRequest(`invalid PAX record: ${name}=${text.slice(0, 64)}`)
  const nanos = BigInt(match[2]) * 1_000_000_000n + BigInt((match[3] ?? '').slice(0, 9).padEnd(9, '0'))
  return match[1] ? -nanos : nanos
}

export const formatPaxTime = (nanos: bigint): string => {
  const positive = nanos < 0n ? -nanos : nanos
  const fraction = (positive % 1_000_000_000n).toString().padStart(9, '0').replace(/0+$/, '')
  return `${nanos < 0n ? '-' : ''}${positive / 1_000_000_000n}${fraction && `.${fraction}`}`
}
