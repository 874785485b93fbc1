import { type ByteString, joinPath, toByteString } from '../../../archive/paths.ts'
import { badRequest } from '../../../core/errors.ts'
import { type FileStat, S_IFLNK, S_IFMT } from '../../../linux/stat.ts'
import { shown } from './errors.ts'

/** What a path is looked up in: a tree of byte strings, '' the root. */
export interface FileTree {
  stat(path: ByteString): FileStat | undefined
  readLink(path: ByteString): Buffer
}

export const toPath = (text: string): ByteString => toByteString(Buffer.from(text))

const LINKS = 255

export const isLink = (stat: FileStat): boolean => (stat.mode & S_IFMT) === S_IFLNK

/**
 * The path without links, as a process would see it whose root the tree is: absolute links begin there, `..` ends
 * there. What is not there yet stays as it is. Errors: `bad-request` after too many links.
 */
export const resolvePath = (
  tree: FileTree,
  path: ByteString,
  { followLast }: { followLast: boolean } = { followLast: true },
): ByteString => {
  const rest = path.split('/').reverse()
  let done: ByteString[] = []
  let links = 0
  for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
    if (name === '' || name === '.') continue
    if (name === '..') {
      done.pop()
      continue
    }
    const here = joinPath(done.join('/'), name)
    const isLast = rest.every(other => other === '')
    const stat = isLast && !followLast ? undefined : tree.stat(here)
    if (!stat || !isLink(stat)) {
      done.push(name)
      continue
    }
    if (++links > LINKS) throw badRequest(`cannot resolve ${shown(path)}: too many links`)
    const target = toByteString(tree.readLink(here))
    if (target.startsWith('/')) done = []
    rest.push(...target.split('/').reverse())
  }
  return done.join('/')
}
