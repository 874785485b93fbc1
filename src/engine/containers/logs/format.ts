import { fixedWidth, parseTime } from '../../../core/clock.ts'
import { stdcopyFrame } from '../../../wire/stdcopy.ts'

/** What `docker logs` was asked for. Times in nanoseconds. */
export interface LogOptions {
  stdout: boolean
  stderr: boolean
  since: bigint | undefined
  until: bigint | undefined
  timestamps: boolean
  details: boolean
  follow: boolean
  /** Without frames, whatever the container is. */
  raw?: boolean
  /** Lines from the end; undefined for all. */
  tail: number | undefined
}

export interface LogLine {
  log: string
  stream: 'stdout' | 'stderr'
  time: string
  attrs?: Record<string, string>
}

/** In files the fraction's trailing zeros are cut; clients are given all nine digits. */
export const lineTime = ({ time }: LogLine): string =>
  time.length === 30 ? time : fixedWidth(parseTime(time) ?? 0n)

/** Undefined for a line that a power cut left half-written, or that is none of ours. */
export const parseLine = (stored: string): LogLine | undefined => {
  let line: Partial<LogLine> | null
  try {
    line = JSON.parse(stored)
  } catch {
    return undefined
  }
  const isLine =
    typeof line?.log === 'string' && typeof line.stream === 'string' && typeof line.time === 'string'
  return isLine ? (line as LogLine) : undefined
}

/** Half a surrogate pair has no form in a query string. */
const escaped = (text: unknown): string => encodeURIComponent(String(text).toWellFormed())

/** `key=value,…` in the order of the keys, escaped as a query string is. */
const details = (attrs: Record<string, string> | undefined): string => {
  const pairs = Object.entries(attrs ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))
  return `${pairs.map(([key, value]) => `${escaped(key)}=${escaped(value)}`).join(',')} `
}

/** `past` tells that `until` has been reached: nothing after it is wanted. */
export type Formatted = { bytes?: Buffer; past: boolean }

/** Turns stored lines into the client's stream: frames, or plain text for a terminal. */
export const lineFormatter = (options: LogOptions, multiplexed: boolean): ((stored: string) => Formatted) => {
  const since = options.since === undefined ? '' : fixedWidth(options.since)
  const until = options.until === undefined ? '' : fixedWidth(options.until)
  return stored => {
    const line = parseLine(stored)
    if (!line) return { past: false }
    if (since !== '' || until !== '') {
      const time = lineTime(line)
      if (until !== '' && time > until) return { past: true }
      if (time < since) return { past: false }
    }
    if (line.stream === 'stdout' ? !options.stdout : !options.stderr) return { past: false }
    const text = `${options.timestamps ? `${lineTime(line)} ` : ''}${options.details ? details(line.attrs) : ''}${line.log}`
    const bytes = Buffer.from(text)
    return { bytes: multiplexed ? stdcopyFrame(line.stream === 'stdout' ? 1 : 2, bytes) : bytes, past: false }
  }
}
