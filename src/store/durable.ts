import { closeSync, fsync, openSync, writeFileSync } from 'node:fs'
import { type FileHandle, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { failpoint } from '../core/failpoint.ts'
import { nonce } from '../core/ids.ts'

/** Writing so that after a crash a file is whole or absent. */

// Of a small file's calls only this one waits for the disk: the others are quicker than a thread's round trip.
const sync = promisify(fsync)

/** Makes the names in a directory durable. */
export const syncDirectory = async (path: string): Promise<void> => {
  const fd = openSync(path, 'r')
  try {
    await sync(fd)
  } finally {
    closeSync(fd)
  }
}

/** Writes a small new file and makes its content durable; its name is the caller's. */
export const writeDurably = async (path: string, text: string): Promise<void> => {
  const fd = openSync(path, 'wx', 0o600)
  try {
    writeFileSync(fd, text)
    await sync(fd)
  } finally {
    closeSync(fd)
  }
}

/** Prefix of names that are not finished; recovery removes them. */
export const UNFINISHED = '.new-'

export const unfinishedName = (): string => `${UNFINISHED}${nonce()}${nonce()}`

/** Renames a synced file into place and makes that durable. */
export const publish = async (from: string, to: string, point: string): Promise<void> => {
  failpoint(`${point}.before-rename`)
  await rename(from, to)
  failpoint(`${point}.before-directory-sync`)
  await syncDirectory(dirname(to))
  failpoint(`${point}.after`)
}

/** Writes all of `bytes` at the handle's position. */
export const writeAll = async (handle: FileHandle, bytes: Uint8Array): Promise<void> => {
  for (let done = 0; done < bytes.length; ) done += (await handle.write(bytes, done)).bytesWritten
}

/** Several chunks in one call where the kernel takes them so. */
export const writeVector = async (handle: FileHandle, chunks: readonly Uint8Array[]): Promise<void> => {
  const wanted = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
  if (wanted === 0) return
  const { bytesWritten } = await handle.writev([...chunks])
  if (bytesWritten < wanted) await writeAll(handle, Buffer.concat(chunks).subarray(bytesWritten))
}
