import type { LogHandle } from './compressedFile.ts'
import { type LogFile, listLogFiles, openLogFile } from './files.ts'
import { type LogLine, lineTime, parseLine } from './format.ts'

/** Of a file so much is looked at for one answer, whatever its size. */
const windowSize = 256 * 1024
/** Holds a whole line of the longest (16 KiB, each byte escaped), whatever was cut off of the one before. */
const probeSize = 208 * 1024

interface Span {
  /** Times as `lineTime` has them; both bounds belong to it. */
  since: string
  until: string
}

const readAt = async (handle: LogHandle, from: number, length: number): Promise<string> => {
  const buffer = Buffer.allocUnsafe(length)
  const { bytesRead } = await handle.read(buffer, 0, length, from)
  return buffer.toString('utf8', 0, bytesRead)
}

const linesOf = (text: string, isFromStart: boolean): LogLine[] => {
  const lines = text.split('\n')
  if (!isFromStart) lines.shift()
  return lines.flatMap(line => parseLine(line) ?? [])
}

/** Where lines later than `time` begin, give or take a probe: lines are in the order of their times. */
const searchTime = async (handle: LogHandle, size: number, time: string): Promise<number> => {
  let [low, high] = [0, size]
  while (high - low > probeSize) {
    const middle = low + Math.floor((high - low) / 2)
    const [line] = linesOf(await readAt(handle, middle, probeSize), false)
    if (line && lineTime(line) <= time) low = middle
    else high = middle
  }
  return high
}

interface Found {
  lines: LogLine[]
  /** There may be more in an older file. */
  isFromStart: boolean
}

const linesOfFile = async (file: LogFile, { since, until }: Span): Promise<Found> => {
  await using handle = await openLogFile(file)
  if (!handle) return { lines: [], isFromStart: true }
  const { size } = await handle.stat()
  const end = Math.min(size, (await searchTime(handle, size, until)) + probeSize)
  const start = Math.max(0, end - windowSize - probeSize)
  const all = linesOf(await readAt(handle, start, end - start), start === 0)
  const lines = all.filter(line => lineTime(line) >= since && lineTime(line) <= until)
  return { lines, isFromStart: start === 0 && lines.length === all.filter(isBefore(until)).length }
}

const isBefore =
  (until: string) =>
  (line: LogLine): boolean =>
    lineTime(line) <= until

/** The last lines of a span of time, oldest first: found by their times, so that a long log is not read. */
export const lastLines = async (log: string, span: Span, count: number): Promise<LogLine[]> => {
  let found: LogLine[] = []
  if (count <= 0) return found
  for (const file of (await listLogFiles(log)).reverse()) {
    const { lines, isFromStart } = await linesOfFile(file, span)
    found = [...lines, ...found].slice(-count)
    if (found.length >= count || !isFromStart) break
  }
  return found
}
