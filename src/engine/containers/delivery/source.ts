import os from 'node:os'
import { commandOf } from '../describe.ts'
import { parseLine } from '../logs/format.ts'
import type { ContainerRecord } from '../types.ts'
import type { LogEntry, LogSource } from './types.ts'

export const sourceOf = (record: ContainerRecord): LogSource => ({
  id: record.id,
  name: record.name,
  command: commandOf(record).join(' '),
  imageId: record.imageId,
  imageName: record.config.Image ?? '',
  created: record.created,
  env: record.config.Env ?? [],
  labels: record.config.Labels ?? {},
  hostname: os.hostname(),
})

/** From this length on a line without an end is the part of a longer one; characters are never parted. */
const longest = 16 * 1024 - 3

interface Part {
  id: string
  ordinal: number
}

/** Makes entries of stored lines; remembers what was the part of a longer line. */
export class EntryParser {
  readonly #open = new Map<string, Part>()

  /** Undefined for a line that a power cut left half-written. */
  parse(stored: string): LogEntry | undefined {
    const line = parseLine(stored)
    if (!line) return undefined
    const isWhole = line.log.endsWith('\n')
    const entry = {
      text: isWhole ? line.log.slice(0, -1) : line.log,
      stream: line.stream,
      time: line.time,
    }
    const part = this.#part(line.stream, !isWhole && Buffer.byteLength(line.log) >= longest, line.time)
    return part ? { ...entry, partial: part } : entry
  }

  #part(stream: string, goesOn: boolean, time: string): LogEntry['partial'] {
    const before = this.#open.get(stream)
    if (!before && !goesOn) return undefined
    const part = before ?? { id: Buffer.from(`${stream}${time}`).toString('hex'), ordinal: 0 }
    part.ordinal++
    if (goesOn) this.#open.set(stream, part)
    else this.#open.delete(stream)
    return { ...part, last: !goesOn }
  }
}
