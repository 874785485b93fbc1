import type { Engine } from '../../engine.ts'
import type { Container } from '../container.ts'
import { logPath } from '../logConfig.ts'
import { listLogFiles, openLogFile, wasRotated } from '../logs/files.ts'
import type { Growth } from '../logs/growth.ts'
import { LineReader } from '../logs/lineReader.ts'
import { goesOn } from '../logs/read.ts'
import type { Place } from './cursor.ts'

/** Bytes of the log that are sent at once, and held for each container. */
const chunk = 64 * 1024
/** What a monitor gives a log's first file. */
const firstSequence = 1

/** Stored lines, and the place that follows them. */
export interface Batch {
  lines: string[]
  next: Place
}

export interface FollowOptions {
  from: Place
  growth: Growth
  signal: AbortSignal
  /** So many files went before they were read to their end. */
  onLost(files: number): void
}

interface Opened {
  reader: LineReader
  inode: number
}

/** The file of a place or, where that went, the oldest that follows it. */
const openFrom = async (
  log: string,
  from: Place,
  onLost: (files: number) => void,
): Promise<Opened | undefined> => {
  for (;;) {
    const file = (await listLogFiles(log)).find(({ sequence }) => sequence >= from.sequence)
    if (!file) return undefined
    const handle = await openLogFile(file)
    if (!handle) continue
    const { ino, size } = await handle.stat()
    const isSame = file.sequence === from.sequence && (from.inode === ino || from.inode === 0)
    const offset = isSame && from.offset <= size ? from.offset : 0
    const missing = file.sequence - Math.max(firstSequence, from.sequence)
    if (missing > 0) onLost(missing)
    return { reader: new LineReader(file, handle, { offset, chunk }), inode: ino }
  }
}

/** A container's log from a place on, as it grows; ends when its run has ended and all was given. */
export async function* followLog(
  engine: Engine,
  container: Container,
  { from, growth, signal, onLost }: FollowOptions,
): AsyncGenerator<Batch> {
  const log = logPath(engine.settings.dataRoot, container.id)
  let opened = await openFrom(log, from, onLost)
  try {
    while (!signal.aborted) {
      const ended = !goesOn(container)
      // Asked before the file is read to its end: what was written up to its rotation is read, too.
      const { file, handle } = opened?.reader ?? {}
      const complete = !file || !handle || file.path !== log || (await wasRotated(handle, log))
      for (let lines = await opened?.reader.read(); opened && lines; lines = await opened.reader.read()) {
        const { reader, inode } = opened
        yield { lines, next: { sequence: reader.file.sequence, inode, offset: reader.position } }
        if (signal.aborted) return
      }
      const sequence: number = opened ? opened.reader.file.sequence + 1 : from.sequence
      const moved: Opened | undefined = complete
        ? await openFrom(log, { sequence, inode: -1, offset: 0 }, files => opened && onLost(files))
        : undefined
      if (moved) {
        await opened?.reader[Symbol.asyncDispose]()
        opened = moved
        continue
      }
      if (ended) return
      await growth.next(signal)
    }
  } finally {
    await opened?.reader[Symbol.asyncDispose]()
  }
}

/** Bytes of the log that follow a place, as they are when not compressed. */
export const undelivered = async (log: string, { sequence, inode, offset }: Place): Promise<number> => {
  let sum = 0
  for (const file of await listLogFiles(log)) {
    const handle = file.sequence < sequence ? undefined : await openLogFile(file)
    if (!handle) continue
    const { size } = await handle.stat()
    await handle.close()
    sum += file.sequence === sequence && inode !== 0 ? Math.max(0, size - offset) : size
  }
  return sum
}
