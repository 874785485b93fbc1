import { lstatSync, renameSync, symlinkSync, unlinkSync } from 'node:fs'
import { dirname, relative } from 'node:path'
import { failpoint } from '../core/failpoint.ts'
import { SystemError } from '../linux/ffi.ts'
import { AT_FDCWD, RENAME_EXCHANGE, renameAt } from '../linux/files.ts'

/**
 * Moves a folder to where nothing is, and leaves a link to `place` in its stead: who has been told its old path
 * finds it there at any time. A crash in between leaves the folder where it was, and the link under the new name.
 */
export const moveLeavingLink = (from: string, to: string, place = to): void => {
  const target = relative(dirname(from), place)
  symlinkSync(target, to)
  failpoint('store.before-exchange')
  try {
    renameAt({ dir: AT_FDCWD, name: from }, { dir: AT_FDCWD, name: to }, RENAME_EXCHANGE)
  } catch (error) {
    unlinkSync(to)
    if (!(error instanceof SystemError) || error.code !== 'EINVAL') throw error
    // A file system that exchanges nothing.
    renameSync(from, to)
    symlinkSync(target, from)
  }
}

/** The folder itself is there, and no link that it left. */
export const isUnmoved = (folder: string): boolean =>
  lstatSync(folder, { throwIfNoEntry: false })?.isDirectory() ?? false
