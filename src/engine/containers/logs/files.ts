import { type FileHandle, open, readdir, readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import { hasCode } from '../../../core/errors.ts'
import { SerialQueue } from '../../../core/queue.ts'
import { CompressedFile, type LogHandle } from './compressedFile.ts'

/**
 * The files of one container's log. The current one has the log's own name;
 * rotated ones end in `.<sequence>`, and in `.gz` where they were compressed; the
 * current one's number is in `.seq`. Of a file that is there in both forms, as a death
 * may leave it, the plain one counts.
 */
export interface LogFile {
  sequence: number
  path: string
  isCompressed: boolean
}

export const compressedName = (path: string): string => `${path}.gz`
export const plainName = (path: string): string => path.replace(/\.gz$/, '')

const swaps = new SerialQueue()
let swapped = 0

/** Puts one form of a rotated file in the place of the other; who lists the files meanwhile misses neither. */
export const swapLogFiles = <T>(swap: () => Promise<T>): Promise<T> =>
  swaps.run(async () => {
    try {
      return await swap()
    } finally {
      swapped++
    }
  })

/** The number of the current file; undefined where none was written yet. */
const storedSequence = async (file: string): Promise<number | undefined> => {
  try {
    const stored = Number((await readFile(`${file}.seq`, 'utf8')).trim())
    return Number.isSafeInteger(stored) ? stored : undefined
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/** The names in a log's folder, as they were at one moment: neither a rotation nor a swap came between. */
const stableNames = async (file: string): Promise<{ names: string[]; stored: number | undefined }> => {
  for (let stored = await storedSequence(file); ; ) {
    if (!swaps.idle) await swaps.run(async () => {})
    const before = swapped
    const names = await readdir(path.dirname(file))
    const after = await storedSequence(file)
    if (stored === after && swapped === before && swaps.idle) return { names, stored }
    stored = after
  }
}

/** By the ends of their names. */
const rotatedFiles = (file: string, ends: readonly string[]): LogFile[] => {
  const found = new Map<number, LogFile>()
  for (const end of ends) {
    const match = /^(\d+)(\.gz)?$/.exec(end)
    const sequence = Number(match?.[1])
    const isCompressed = match?.[2] !== undefined
    if (match && !(isCompressed && found.has(sequence)))
      found.set(sequence, { sequence, path: `${file}.${end}`, isCompressed })
  }
  return [...found.values()].sort((a, b) => a.sequence - b.sequence)
}

/** All files, oldest first; empty where the container never logged. */
export const listLogFiles = async (file: string): Promise<LogFile[]> => {
  const prefix = `${path.basename(file)}.`
  let found: Awaited<ReturnType<typeof stableNames>>
  try {
    found = await stableNames(file)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
  const { names, stored } = found
  const files = rotatedFiles(
    file,
    names.filter(name => name.startsWith(prefix)).map(name => name.slice(prefix.length)),
  )
  if (names.includes(path.basename(file))) {
    const newest = files.at(-1)?.sequence ?? -1
    // Between a rotation's two steps the number is still the rotated file's.
    const sequence = stored !== undefined && stored > newest ? stored : newest + 1
    files.push({ sequence, path: file, isCompressed: false })
  }
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

const openIfThere = async (path: string): Promise<FileHandle | undefined> => {
  try {
    return await open(path, 'r')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

const openRotated = async (plain: string, isCompressed: boolean): Promise<LogHandle | undefined> => {
  // It may take its other form meanwhile.
  for (const compressed of [isCompressed, !isCompressed, isCompressed]) {
    const file = await openIfThere(compressed ? compressedName(plain) : plain)
    if (file) return compressed ? CompressedFile.of(file) : file
  }
  return undefined
}

/** The file with the log's own name, if it is still the one with that number. */
const openCurrent = async ({ path, sequence }: LogFile): Promise<LogHandle | undefined> => {
  const file = await openIfThere(path)
  if (!file) return undefined
  await using rotated = await openIfThere(`${path}.${sequence}`)
  const isSame = rotated
    ? (await rotated.stat()).ino === (await file.stat()).ino
    : ((await storedSequence(path)) ?? sequence) <= sequence
  if (isSame) return file
  await file.close()
  return undefined
}

/** Opens a file of the log, wherever it has gone since it was listed; undefined where it was taken away. */
export const openLogFile = async (file: LogFile): Promise<LogHandle | undefined> => {
  const { path, sequence, isCompressed } = file
  if (plainName(path).endsWith(`.${sequence}`)) return openRotated(plainName(path), isCompressed)
  return (await openCurrent(file)) ?? openRotated(`${path}.${sequence}`, false)
}

/** True where the open file is no longer the one with the log's own name. */
export const wasRotated = async (handle: LogHandle, file: string): Promise<boolean> => {
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
  handle: LogHandle,
  count: number,
): Promise<{ offset: number; lines: number }> => {
  if (handle instanceof CompressedFile) return handle.tailOffset(count)
  let end = (await handle.stat()).size
  if (count === 0) return { offset: end, lines: 0 }
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
