import { writeSync } from 'node:fs'
import { type ByteString, clampPath } from '../../../archive/paths.ts'
import { badRequest } from '../../../core/errors.ts'
import {
  chmodFd,
  chownFd,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_WRONLY,
  openAt,
  owned,
} from '../../../linux/files.ts'
import { isDirectory, S_IFMT, S_IFREG } from '../../../linux/stat.ts'
import type { FileAction } from '../../graph/types.ts'
import { pathError } from './errors.ts'
import { findMatches } from './glob.ts'
import { checkParent, makeDirectories, makeOne } from './makeDirectories.ts'
import type { Ids } from './owner.ts'
import { resolvePath, toPath } from './resolve.ts'
import type { Target } from './target.ts'

/** The actions on the target alone. */

type Action<Kind extends FileAction['kind']> = Extract<FileAction, { kind: Kind }>

/** One that is there stays as it is. */
export const makeDirectory = (
  target: Target,
  { path, mode, parents }: Action<'makeDirectory'>,
  owner: Ids | undefined,
): void => {
  const at = resolvePath(target, toPath(path))
  if (parents) makeDirectories(target, at, { mode, owner })
  else if (!target.stat(at)) {
    checkParent(target, at, 'mkdir')
    makeOne(target, at, { mode, owner })
  }
}

/** A file that is there keeps its mode, and its owner where none is told. */
export const makeFile = (
  target: Target,
  { path, content, mode }: Action<'makeFile'>,
  owner: Ids | undefined,
): void => {
  const at = resolvePath(target, toPath(path))
  const there = at === '' ? undefined : target.stat(at)
  if (at === '' || (there && isDirectory(there))) throw pathError('open', at, 'EISDIR')
  checkParent(target, at, 'open')
  if (there && (there.mode & S_IFMT) !== S_IFREG)
    throw badRequest(`open ${path}: it is there already, and is no regular file`)
  // Never in place: the inode may have names elsewhere.
  if (there) target.giveWay(at)
  const { uid, gid } = owner ?? there ?? { uid: 0, gid: 0 }
  target.place(at, (dir, name) => {
    using file = owned(openAt(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o600))
    const bytes = Buffer.from(content)
    for (let done = 0; done < bytes.length; ) done += writeSync(file.fd, bytes, done)
    chownFd(file.fd, uid, gid)
    chmodFd(file.fd, there ? there.mode & 0o7777 : mode & 0o777)
  })
}

/** A link goes itself, not what it leads to. */
const removeOne = (target: Target, path: ByteString, allowMissing: boolean): void => {
  const clean = clampPath(path)
  if (clean === '') throw badRequest('rmPath: invalid empty path')
  const at = resolvePath(target, clean, { followLast: false })
  if (!allowMissing && !target.stat(at)) throw pathError('stat', at, 'ENOENT')
  target.remove(at)
}

export const remove = (target: Target, { path, wildcards, allowMissing }: Action<'remove'>): void => {
  const found = wildcards ? findMatches(target, path, { followLast: false }) : [toPath(path)]
  for (const one of found) removeOne(target, one, allowMissing)
}
