/** Time as Docker writes it: RFC 3339 with nanoseconds, UTC. */

export const zeroTime = '0001-01-01T00:00:00Z'

/** The monotonic clock gives the digits below the wall clock's milliseconds; further apart than this, somebody set the clock. */
const allowedDrift = 5_000_000n

const wallNanos = (): bigint => BigInt(Date.now()) * 1_000_000n

let baseWall = wallNanos()
let baseMono = process.hrtime.bigint()
let last = 0n

/** Nanoseconds since the epoch, strictly rising in this process while the clock is not set back. */
export const nowNanos = (): bigint => {
  const mono = process.hrtime.bigint()
  const wall = wallNanos()
  const fine = baseWall + (mono - baseMono)
  const drift = fine - wall
  if (drift > allowedDrift || drift < -allowedDrift) {
    baseWall = wall
    baseMono = mono
    last = wall
    return wall
  }
  last = fine > last ? fine : last + 1n
  return last
}

/** `2026-01-02T03:04:05.120000000Z`, always nine digits of the fraction, so older and newer can be told by the text. */
export const fixedWidth = (nanos: bigint): string => {
  const head = new Date(Number(nanos / 1_000_000n)).toISOString().slice(0, 19)
  return `${head}.${(nanos % 1_000_000_000n).toString().padStart(9, '0')}Z`
}

/** `2026-01-02T03:04:05.123456789Z`, trailing zeros of the fraction cut as Go's RFC3339Nano does. */
export const formatNanos = (nanos: bigint): string => {
  const seconds = nanos / 1_000_000_000n
  const fraction = (nanos % 1_000_000_000n).toString().padStart(9, '0').replace(/0+$/, '')
  const head = new Date(Number(seconds) * 1000).toISOString().slice(0, 19)
  return fraction === '' ? `${head}Z` : `${head}.${fraction}Z`
}

export const nowText = (): string => formatNanos(nowNanos())

/** Nanoseconds of an RFC 3339 text; undefined if it is not one. */
export const parseTime = (text: string): bigint | undefined => {
  const match = /^(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)$/.exec(text)
  if (!match?.[1] || !match[3]) return undefined
  const millis = Date.parse(match[1] + match[3].toUpperCase())
  if (Number.isNaN(millis)) return undefined
  return BigInt(millis) * 1_000_000n + BigInt((match[2] ?? '').padEnd(9, '0'))
}
