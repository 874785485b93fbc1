import { readSync } from 'node:fs'
import type { ByteString } from '../../../archive/paths.ts'
import { badRequest } from '../../../core/errors.ts'
import { closeFd } from '../../../linux/files.ts'
import { S_IFMT, S_IFREG, statFd } from '../../../linux/stat.ts'
import type { Owner } from '../../graph/types.ts'
import { shown } from './errors.ts'
import { type FileTree, resolvePath } from './resolve.ts'

export interface Ids {
  uid: number
  gid: number
}

/** A tree whose files can be read. */
export interface ReadableTree extends FileTree {
  /** Undefined where nothing is; the caller owns the descriptor. */
  open(path: ByteString): number | undefined
}

const LIMIT = 10 << 20

/** A small file of a tree, links followed within it; undefined where it is not there. */
const readSmall = (tree: ReadableTree, name: string): string | undefined => {
  const path = resolvePath(tree, name)
  const stat = tree.stat(path)
  if (!stat) return undefined
  if ((stat.mode & S_IFMT) !== S_IFREG) throw badRequest(`${shown(path)} is not a regular file`)
  const fd = tree.open(path)
  if (fd === undefined) return undefined
  try {
    const { size } = statFd(fd)
    if (size > LIMIT) throw badRequest(`${shown(path)} exceeds ${LIMIT} bytes`)
    const bytes = Buffer.alloc(size)
    return bytes.subarray(0, readSync(fd, bytes, 0, size, 0)).toString('utf8')
  } finally {
    closeFd(fd)
  }
}

/** The fields of the first line that begins with this name. */
const entryOf = (text: string | undefined, name: string): string[] | undefined =>
  text
    ?.split('\n')
    .map(line => line.trim())
    .filter(line => line !== '' && !line.startsWith('#'))
    .map(line => line.split(':'))
    .find(fields => fields[0] === name)

const numeric = (text: string): number | undefined => {
  if (!/^\d+$/.test(text)) return undefined
  const id = Number(text)
  if (id > 0xffff_fffe) throw badRequest(`invalid id ${text}: it is out of range`)
  return id
}

const numberOf = (text: string | undefined): number => numeric(text ?? '') ?? 0

/**
 * Numbers of an owner; a name that `/etc/passwd` or `/etc/group` of the tree does not know is root's, as BuildKit has
 * it. A user without a group has that of its line, or of its own number.
 */
export const idsOf = (owner: Owner, tree: ReadableTree): Ids => {
  const ids = { uid: 0, gid: 0 }
  if (owner.user !== undefined) {
    const id = numeric(owner.user)
    const line = id === undefined ? entryOf(readSmall(tree, 'etc/passwd'), owner.user) : undefined
    ids.uid = id ?? numberOf(line?.[2])
    ids.gid = id ?? numberOf(line?.[3])
  }
  if (owner.group !== undefined) {
    const id = numeric(owner.group)
    ids.gid = id ?? numberOf(entryOf(readSmall(tree, 'etc/group'), owner.group)?.[2])
  }
  return ids
}
