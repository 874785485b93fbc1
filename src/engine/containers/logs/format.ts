import { parseTime } from '../../../core/clock.ts'
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

interface LogLine {
  log: string
  stream: 'stdout' | 'stderr'
  time: string
  attrs?: Record<string, string>
}

/** A line's time is always `YYYY-MM-DDTHH:MM:SS.nnnnnnnnnZ`, so older and newer can be told by its text. */
const fixedWidth = (nanos: bigint): string => {
  const head = new Date(Number(nanos / 1_000_000n)).toISOString().slice(0, 19)
  return `${head}.${(nanos % 1_000_000_000n).toString().padStart(9, '0')}Z`
}

/** `key=value,…` in the order of the keys, escaped as a query string is. */
const details = (attrs: Record<string, string> | undefined): string => {
  const pairs = Object.entries(attrs ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))
  return `${pairs.map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`).join(',')} `
}

/** `past` tells that `until` has been reached: nothing after it is wanted. */
export type Formatted = { bytes?: Buffer; past: boolean }

/** Turns stored lines into the client's stream: frames, or plain text for a terminal. */
export const lineFormatter = (options: LogOptions, multiplexed: boolean): ((stored: string) => Formatted) => {
  const since = options.since === undefined ? '' : fixedWidth(options.since)
  const until = options.until === undefined ? '' : fixedWidth(options.until)
  return stored => {
    let line: LogLine
    try {
      line = JSON.parse(stored) as LogLine
    } catch {
      // A line that a power cut left half-written.
      return { past: false }
    }
    if (since !== '' || until !== '') {
      const time = line.time.length === 30 ? line.time : fixedWidth(parseTime(line.time) ?? 0n)
      if (until !== '' && time > until) return { past: true }
      if (time < since) return { past: false }
    }
    if (line.stream === 'stdout' ? !options.stdout : !options.stderr) return { past: false }
    const text = `${options.timestamps ? `${line.time} ` : ''}${options.details ? details(line.attrs) : ''}${line.log}`
    const bytes = Buffer.from(text)
    return { bytes: multiplexed ? stdcopyFrame(line.stream === 'stdout' ? 1 : 2, bytes) : bytes, past: false }
  }
}
