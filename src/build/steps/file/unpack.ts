import { readSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { Budget } from '../../../archive/budget.ts'
import { decompress } from '../../../archive/compression.ts'
import { Extractor } from '../../../archive/extractor.ts'
import { BLOCK, isZeroBlock, parseHeader } from '../../../archive/header.ts'
import type { TaskControl } from '../../../archive/layer.ts'
import { TarParser } from '../../../archive/parser.ts'
import { closeFd } from '../../../linux/files.ts'
import { S_IFMT, S_IFREG, statFd } from '../../../linux/stat.ts'
import type { Ids } from './owner.ts'

const CHUNK = 1 << 20

/** From its beginning, wherever its position is. */
async function* plain(fd: number): AsyncGenerator<Buffer> {
  for (let at = 0; ; ) {
    const chunk = Buffer.allocUnsafeSlow(CHUNK)
    const count = readSync(fd, chunk, 0, CHUNK, at)
    if (count === 0) return
    at += count
    yield chunk.subarray(0, count)
    // An abort is heard between two turns of the loop only.
    await setImmediate()
  }
}

/** Whether the bytes begin as an archive does, once they are no longer compressed. */
const isArchive = async (fd: number, size: number): Promise<boolean> => {
  try {
    const { stream } = await decompress(plain(fd), { size })
    let head = Buffer.alloc(0)
    for await (const chunk of stream) {
      head = Buffer.concat([head, chunk.subarray(0, BLOCK)])
      if (head.length >= BLOCK) break
    }
    const block = head.subarray(0, BLOCK)
    if (block.length < BLOCK || isZeroBlock(block)) return false
    parseHeader(block)
    return true
  } catch {
    return false
  }
}

/** Unpacks an open file into an open directory, which nothing leads out of. It closes neither. Errors: those of the extractor. */
export const unpackFile = async (
  fd: number,
  directory: number,
  { owner, control }: { owner: Ids | undefined; control: TaskControl },
): Promise<void> => {
  const { stream } = await decompress(plain(fd), { size: statFd(fd).size })
  using extractor = new Extractor(directory, new Budget(directory), owner ? { owner } : {})
  const parser = new TarParser(extractor)
  for await (const chunk of stream) {
    control.check()
    parser.write(chunk)
  }
  parser.end()
  extractor.finish()
}

/** The file where it is an archive, open; the caller owns it. */
export const openArchive = async (fd: number | undefined): Promise<number | undefined> => {
  if (fd === undefined) return undefined
  const { mode, size } = statFd(fd)
  if ((mode & S_IFMT) === S_IFREG && (await isArchive(fd, size))) return fd
  closeFd(fd)
  return undefined
}
