import { type ByteString, joinPath, parentOf } from '../../../archive/paths.ts'
import { chmodFd, chownFd } from '../../../linux/files.ts'
import { isDirectory } from '../../../linux/stat.ts'
import { pathError } from './errors.ts'
import type { Ids } from './owner.ts'
import type { Target } from './target.ts'

export interface NewDirectory {
  mode: number
  /** Root's without. */
  owner?: Ids | undefined
}

export const makeOne = (target: Target, path: ByteString, { mode, owner }: NewDirectory): void => {
  target.makeDirectory(path, mode & 0o777)
  const fd = target.directory(path)
  chownFd(fd, owner?.uid ?? 0, owner?.gid ?? 0)
  chmodFd(fd, mode & 0o777)
}

/** Makes a directory with those that it is in. Errors: `bad-request` where something else is in the way. */
export const makeDirectories = (target: Target, path: ByteString, how: NewDirectory): void => {
  let at: ByteString = ''
  for (const name of path === '' ? [] : path.split('/')) {
    at = joinPath(at, name)
    const stat = target.stat(at)
    if (!stat) makeOne(target, at, how)
    else if (!isDirectory(stat)) throw pathError('mkdir', at, 'ENOTDIR')
  }
}

/** Errors: the directory that a path is in is not there, or is none. */
export const checkParent = (target: Target, path: ByteString, call: string): void => {
  const parent = target.stat(parentOf(path))
  if (!parent) throw pathError(call, path, 'ENOENT')
  if (!isDirectory(parent)) throw pathError(call, path, 'ENOTDIR')
}
