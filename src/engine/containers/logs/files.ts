import { type FileHandle, open, readdir, readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import { hasCode } from '../../../core/errors.ts'

/**
 * The files of one container's log. The current one has the log's own name;
 * rotated ones end in `.<sequence>`; the current one's number is in `.seq`.
 */
export interface LogFile {
  sequence: number
  path: string
}

const currentSequence = async (file: string, rotated: readonly number[]): Promise<number> => {
  try {
    const stored = Number((await readFile(`${file}.seq`, 'utf8')).trim())
    // Between a rotation's two steps the number is still the rotated file's.
    if (Number.isSafeInteger(stored) && !rotated.includes(stored)) return stored
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
  }
  return Math.max(-1, ...rotated) + 1
}

/** All files, oldest first; empty where the container never logged. */
export const listLogFiles = async (file: string): Promise<LogFile[]> => {
  const prefix = `${path.basename(file)}.`
  let names: string[]
  try {
    names = await readdir(path.dirname(file))
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
  const rotated = names
    .filter(name => name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length)))
    .map(name => Number(name.slice(prefix.length)))
    .sort((a, b) => a - b)
  const files = rotated.map(sequence => ({ sequence, path: `${file}.${sequence}` }))
  if (names.includes(path.basename(file)))
    files.push({ sequence: await currentSequence(file, rotated), path: file })
  return files
}

export interface MeasuredLogFile extends LogFile {
  /** Bytes. */
  size: number
}

/** As `listLogFiles`, with what each takes; without those that go meanwhile. */
export const measureLogFiles = async (file: string): Promise<MeasuredLogFile[]> => {
  const files = await Promise.all(
    (await listLogFiles(file)).map(async entry => {
      try {
        return [{ ...entry, size: (await stat(entry.path)).size }]
      } catch (error) {
        if (hasCode(error, 'ENOENT')) return []
        throw error
      }
    }),
  )
  return files.flat()
}

/** Opens a file of the log; undefined where rotation took it away meanwhile. */
export const openLogFile = async (file: LogFile): Promise<FileHandle | undefined> => {
  try {
    return await open(file.path, 'r')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/** True where the open file is no longer the one with the log's own name. */
export const wasRotated = async (handle: FileHandle, file: string): Promise<boolean> => {
  try {
    return (await handle.stat()).ino !== (await stat(file)).ino
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return true
    throw error
  }
}

const chunkSize = 256 * 1024

/** Where the last `count` lines of a file begin, and how many lines there are from there. */
export const tailOffset = async (
  handle: FileHandle,
  count: number,
): Promise<{ offset: number; lines: number }> => {
  let end = (await handle.stat()).size
  let lines = 0
  let first = true
  const buffer = Buffer.allocUnsafe(chunkSize)
  while (end > 0) {
    const start = Math.max(0, end - chunkSize)
    const { bytesRead } = await handle.read(buffer, 0, end - start, start)
    for (let at = bytesRead - 1; at >= 0; at--) {
      if (buffer[at] !== 0x0a) continue
      // The newline that ends the last line begins no line of its own.
      if (first && start + at === end - 1) {
        first = false
        lines = 1
        continue
      }
      if (lines === count) return { offset: start + at + 1, lines }
      lines++
    }
    first = false
    end = start
  }
  return { offset: 0, lines: Math.max(lines, 0) }
}
