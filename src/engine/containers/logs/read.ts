import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { BerthError, badRequest } from '../../../core/errors.ts'
import type { LogCursor } from '../../../runtime/types.ts'
import { stdcopyFrame } from '../../../wire/stdcopy.ts'
import type { Engine } from '../../engine.ts'
import type { Container } from '../container.ts'
import { containerDirectory, logPath } from '../logConfig.ts'
import { isCacheDisabled } from '../logDrivers.ts'
import { type LogFile, listLogFiles, openLogFile, tailOffset, wasRotated } from './files.ts'
import { type LogOptions, lineFormatter } from './format.ts'
import { Growth } from './growth.ts'
import { LineReader } from './lineReader.ts'

/** Where to begin: the first file, or the line so many from the end. */
const firstReader = async (files: LogFile[], tail: number | undefined): Promise<LineReader | undefined> => {
  let wanted = tail
  if (wanted === undefined) {
    for (const file of files) {
      const handle = await openLogFile(file)
      if (handle) return new LineReader(file, handle)
    }
    return undefined
  }
  for (const [index, file] of [...files.entries()].reverse()) {
    const handle = await openLogFile(file)
    if (!handle) continue
    const { offset, lines } = await tailOffset(handle, wanted)
    if (lines >= wanted || index === 0) return new LineReader(file, handle, { offset })
    wanted -= lines
    await handle.close()
  }
  return undefined
}

/** Files between two that were read went before they could be. */
const overtaken = stdcopyFrame(
  2,
  Buffer.from('[berth] output was lost: the log was rotated away before this client had read it\n'),
)

const nextFile = async (log: string, sequence: number): Promise<LogFile | undefined> =>
  (await listLogFiles(log)).find(file => file.sequence > sequence)

/** Reading ends with the run, unless another one is about to begin. */
export const goesOn = (container: Container): boolean =>
  !container.removing &&
  (container.isRunning || container.record.state.status === 'restarting' || container.restarting)

/** Errors: 501 for a driver that cannot be read. */
export const checkReadable = (container: Container): void => {
  const { Type: type, Config: options = {} } = container.record.hostConfig.LogConfig ?? {}
  if (type === 'none' || isCacheDisabled(options))
    throw new BerthError('unreadable-log', 501, 'configured logging driver does not support reading')
}

/** Refuses a request that selects no stream. */
export const checkStreams = (options: LogOptions): void => {
  if (!options.stdout && !options.stderr)
    throw badRequest("must specify at least one of 'stdout' or 'stderr'")
}

/** A log that is open: what it held by then is read, though its container is removed meanwhile. */
export interface OpenLog extends AsyncDisposable {
  /** As a client wants it, in batches. With `follow` it goes on over rotation and over restarts, until the container has ended. */
  batches(): AsyncGenerator<Buffer>
}

interface LogReading {
  container: Container
  options: LogOptions
  log: string
  signal: AbortSignal
}

export const openLog = async (
  engine: Engine,
  container: Container,
  options: LogOptions,
  signal: AbortSignal,
): Promise<OpenLog> => {
  const log = logPath(engine.settings.dataRoot, container.id)
  const directory = containerDirectory(engine.settings.dataRoot, container.id)
  if (options.follow) await mkdir(directory, { recursive: true, mode: 0o710 })
  using undo = new DisposableStack()
  const growth = options.follow ? undo.use(new Growth(container, path.dirname(log))) : undefined
  const place: Place = { reader: await firstReader(await listLogFiles(log), options.tail) }
  undo.move()
  return {
    batches: () => batchesOf({ container, options, log, signal }, place, growth),
    [Symbol.asyncDispose]: async () => {
      growth?.[Symbol.dispose]()
      await place.reader?.[Symbol.asyncDispose]()
    },
  }
}

/** Where a reading is now. */
interface Place {
  reader: LineReader | undefined
}

async function* batchesOf(
  { container, options, log, signal }: LogReading,
  place: Place,
  growth: Growth | undefined,
): AsyncGenerator<Buffer> {
  const multiplexed = !container.record.config.Tty && !options.raw
  const format = lineFormatter(options, multiplexed)
  for (;;) {
    const { reader } = place
    const ended = !goesOn(container)
    // Asked before the file is read to its end: what was written up to its rotation is read, too.
    const complete = !reader || reader.file.path !== log || (await wasRotated(reader.handle, log))
    for (let lines = await reader?.read(); lines; lines = await reader?.read()) {
      const batch: Buffer[] = []
      for (const line of lines) {
        const { bytes, past } = format(line)
        if (past) return void (yield Buffer.concat(batch))
        if (bytes) batch.push(bytes)
      }
      if (batch.length) yield Buffer.concat(batch)
      if (signal.aborted) return
    }
    const moved = complete ? await followingReader(log, reader) : undefined
    if (moved) {
      if (reader && moved.file.sequence > reader.file.sequence + 1 && multiplexed) yield overtaken
      place.reader = moved
      await reader?.[Symbol.asyncDispose]()
      continue
    }
    if (!growth || ended || signal.aborted) return
    await growth.next(signal)
  }
}

/**
 * The compressed files with which a container's log begins, in batches, as a client wants them. Gives
 * where the log goes on; undefined where nothing was ever logged.
 */
export async function* readCompressed(
  engine: Engine,
  container: Container,
  options: LogOptions,
  signal: AbortSignal,
): AsyncGenerator<Buffer, LogCursor | undefined> {
  const log = logPath(engine.settings.dataRoot, container.id)
  const format = lineFormatter(options, !container.record.config.Tty && !options.raw)
  for (let sequence = -1; !signal.aborted; ) {
    const file = await nextFile(log, sequence)
    if (!file?.isCompressed) {
      if (!file && sequence < 0) return undefined
      return { sequence: file?.sequence ?? sequence + 1, offset: 0 }
    }
    sequence = file.sequence
    const handle = await openLogFile(file)
    if (!handle) continue
    await using reader = new LineReader(file, handle)
    for (let lines = await reader.read(); lines && !signal.aborted; lines = await reader.read())
      yield Buffer.concat(lines.flatMap(line => format(line).bytes ?? []))
  }
  return undefined
}

/** The reader of the file after this one; undefined where there is none yet. */
const followingReader = async (
  log: string,
  reader: LineReader | undefined,
): Promise<LineReader | undefined> => {
  const file = await nextFile(log, reader?.file.sequence ?? -1)
  const handle = file ? await openLogFile(file) : undefined
  return file && handle ? new LineReader(file, handle) : undefined
}
