import { type FileHandle, open, rename, rm, stat, unlink } from 'node:fs/promises'
import { pipeline } from 'node:stream'
import { createGzip } from 'node:zlib'
import { hasCode, messageOf } from '../../../core/errors.ts'
import { failpoint } from '../../../core/failpoint.ts'
import type { Engine } from '../../engine.ts'
import type { Container } from '../container.ts'
import { isCompressing, logPath } from '../logConfig.ts'
import { bytesOf, headerOf, headerSize, newline } from './compressedFile.ts'
import { compressedName, type LogFile, listLogFiles, swapLogFiles } from './files.ts'
import { oldestRead } from './slowReaders.ts'

/**
 * Rotated files are compressed by the daemon, one of all logs at a time and in the thread pool. The
 * monitor takes away both forms of a file that has become too old.
 */
export interface Compression {
  readonly stop: AbortController
  /** A file was rotated since the last look. */
  again: boolean
  done: Promise<void>
}

/** What a death in the midst of it leaves beside the log. */
export const compressLeftover = (log: string): string => `${log}.compressing`

const isSame = async (file: FileHandle, path: string): Promise<boolean> => {
  try {
    return (await stat(path)).ino === (await file.stat()).ino
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false
    throw error
  }
}

/** Lines so far, of bytes as they pass. */
class LineCount {
  lines = 0
  #last = newline

  async *of(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of source) {
      for (let at = chunk.indexOf(newline); at >= 0; at = chunk.indexOf(newline, at + 1)) this.lines++
      this.#last = chunk.at(-1) ?? newline
      yield chunk
    }
    if (this.#last !== newline) this.lines++
  }
}

const write = async (from: FileHandle, temporary: string, signal: AbortSignal): Promise<void> => {
  await using to = await open(temporary, 'w', 0o640)
  const { ino: inode, size } = await from.stat()
  const count = new LineCount()
  await to.write(Buffer.alloc(headerSize))
  await to.writeFile(
    pipeline(count.of(bytesOf(from)), createGzip(), () => {}),
    { signal },
  )
  await to.write(headerOf({ inode, size, lines: count.lines }), 0, headerSize, 0)
  await to.datasync()
}

interface Job {
  log: string
  /** Tells at the last moment whether somebody needs the file as it is. */
  isNeeded(): Promise<boolean>
  signal: AbortSignal
}

/** False for a file that is needed, goes meanwhile or is shortened: it is left as it is then. */
const compressFile = async (path: string, { log, isNeeded, signal }: Job): Promise<boolean> => {
  const temporary = compressLeftover(log)
  const compressed = compressedName(path)
  await using file = await open(path, 'r')
  try {
    await write(file, temporary, signal)
    failpoint('logs.compress.written')
    return await swapLogFiles(async () => {
      if (!(await isSame(file, path)) || (await isNeeded())) return false
      await rename(temporary, compressed)
      failpoint('logs.compress.named')
      try {
        await unlink(path)
      } catch (error) {
        // The monitor has just taken it away: it is too old.
        if (hasCode(error, 'ENOENT')) await rm(compressed, { force: true })
        throw error
      }
      return true
    })
  } finally {
    await rm(temporary, { force: true })
  }
}

const plainFiles = async (log: string): Promise<LogFile[]> =>
  (await listLogFiles(log)).filter(file => file.path !== log && !file.isCompressed)

/** An attached client is to be given it by the monitor, which reads no compressed ones. */
const isNeeded = async (
  { logLedger }: Engine,
  { id, monitor }: Container,
  { log, sequence }: { log: string; sequence: number },
): Promise<boolean> =>
  logLedger.replaying.has(id) || (monitor !== undefined && (await oldestRead(monitor.pid, log)) < sequence)

const compressAll = async (
  engine: Engine,
  container: Container,
  compression: Compression,
): Promise<boolean> => {
  const log = logPath(engine.settings.dataRoot, container.id)
  const { signal } = compression.stop
  let changed = false
  try {
    await rm(compressLeftover(log), { force: true })
    do {
      compression.again = false
      for (const { path, sequence } of await plainFiles(log)) {
        signal.throwIfAborted()
        const needed = (): Promise<boolean> => isNeeded(engine, container, { log, sequence })
        if (await needed()) continue
        const job: Job = { log, isNeeded: needed, signal }
        try {
          const isDone = await engine.logLedger.compressing.run(() => compressFile(path, job), signal)
          changed ||= isDone
        } catch (error) {
          if (!hasCode(error, 'ENOENT')) throw error
        }
      }
    } while (compression.again)
  } finally {
    // At once, or who asks for it again meanwhile would not be heard.
    engine.logLedger.compressions.delete(container.id)
  }
  return changed
}

/**
 * Compresses what was rotated, where the container's options say so; `changed` is called when less
 * is on the disk. Returns at once.
 */
export const beginCompression = (engine: Engine, container: Container, changed: () => void): void => {
  if (!isCompressing(container.record) || container.removing || engine.stopping) return
  const { compressions } = engine.logLedger
  const running = compressions.get(container.id)
  if (running) {
    running.again = true
    return
  }
  const compression: Compression = { stop: new AbortController(), again: false, done: Promise.resolve() }
  compressions.set(container.id, compression)
  compression.done = compressAll(engine, container, compression).then(
    isLess => (isLess ? changed() : undefined),
    error => {
      if (compression.stop.signal.aborted) return
      const details = { container: container.id, error: messageOf(error) }
      engine.log.warn('a rotated log could not be compressed', details)
    },
  )
}

/** Before the log is removed, or the daemon ends: nothing is written beside it any more. */
export const endCompression = async (engine: Engine, id: string): Promise<void> => {
  const compression = engine.logLedger.compressions.get(id)
  compression?.stop.abort()
  await compression?.done
}

export const endCompressions = async (engine: Engine): Promise<void> => {
  await Promise.all([...engine.logLedger.compressions.keys()].map(id => endCompression(engine, id)))
}
