import { open, rename, rm, stat } from 'node:fs/promises'
import { nowText } from '../../../core/clock.ts'
import { failpoint } from '../../../core/failpoint.ts'
import type { LogHandle } from './compressedFile.ts'
import { type LogFile, openLogFile, plainName, swapLogFiles } from './files.ts'

const chunkSize = 256 * 1024

/** Where the first line begins that lies wholly within the last `keep` bytes. */
const firstKept = async (file: LogHandle, size: number, keep: number): Promise<number> => {
  const buffer = Buffer.allocUnsafe(chunkSize)
  for (let at = Math.max(0, size - keep - 1); at < size; at += chunkSize) {
    const { bytesRead } = await file.read(buffer, 0, chunkSize, at)
    const newline = buffer.subarray(0, bytesRead).indexOf(0x0a)
    if (newline >= 0) return at + newline + 1
    if (bytesRead === 0) break
  }
  return size
}

const timeIn = (line: string): string => {
  try {
    return (JSON.parse(line) as { time?: string }).time ?? nowText()
  } catch {
    return nowText()
  }
}

/** A line that tells readers what is missing before what follows; of that one's time, so that times go on rising. */
const marker = async (file: LogHandle, { from, size }: { from: number; size: number }): Promise<string> => {
  const buffer = Buffer.alloc(Math.min(chunkSize, size - from))
  const { bytesRead } = await file.read(buffer, 0, buffer.length, from)
  const time = timeIn(buffer.toString('utf8', 0, bytesRead).split('\n', 1)[0] ?? '')
  const log = `[berth] ${from} bytes of older output dropped: all logs together had passed the daemon's log-budget\n`
  return `${JSON.stringify({ log, stream: 'stderr', time })}\n`
}

const copyRest = async (file: LogHandle, from: number, temporary: string): Promise<void> => {
  const { size } = await file.stat()
  await using to = await open(temporary, 'w', 0o640)
  await to.write(await marker(file, { from, size }))
  const buffer = Buffer.allocUnsafe(chunkSize)
  for (let at = from; at < size; ) {
    const { bytesRead } = await file.read(buffer, 0, chunkSize, at)
    if (bytesRead === 0) break
    await to.write(buffer, 0, bytesRead)
    at += bytesRead
  }
  await to.datasync()
}

/** What a death in the midst of it leaves beside the log. */
export const trimLeftover = (log: string): string => `${log}.trim`

/**
 * Shortens a rotated file, which nobody writes any more, to its last whole lines: another file
 * takes its place, and who reads the old one has it open. One that goes meanwhile stays gone. Of a
 * compressed one so many bytes of its text are left, uncompressed. False where it had gone.
 */
export const trimFile = async (log: string, rotated: LogFile, keep: number): Promise<boolean> => {
  const temporary = trimLeftover(log)
  const file = await openLogFile(rotated)
  if (!file) return false
  try {
    await copyRest(file, await firstKept(file, (await file.stat()).size, keep), temporary)
    failpoint('logs.shortened')
    await swapLogFiles(async () => {
      await stat(rotated.path)
      await rename(temporary, plainName(rotated.path))
      failpoint('logs.replaced')
      if (rotated.isCompressed) await rm(rotated.path)
    })
    return true
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  } finally {
    await file.close()
  }
}
