import { readdirSync, realpathSync } from 'node:fs'
import path from 'node:path'
import { SystemError } from '../linux/ffi.ts'
import {
  AT_FDCWD,
  closeFd,
  type Name,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  openAt,
  owned,
} from '../linux/files.ts'
import { setContext } from '../linux/selinux.ts'
import { pathAt } from '../linux/xattrs.ts'

/** Labels of SELinux for a whole tree, by descriptor: whoever changes the tree meanwhile leads nobody out of it. */

const isCode = (error: unknown, ...codes: string[]): boolean =>
  error instanceof SystemError && codes.includes(error.code)

const labelBelow = (dir: number, label: string): void => {
  const children = readdirSync(`/proc/self/fd/${dir}`, { encoding: 'buffer', withFileTypes: true })
  for (const child of children)
    try {
      labelOne(dir, child.name, label)
    } catch (error) {
      if (!isCode(error, 'ENOENT')) throw error
    }
}

/** What is a directory when it is opened is gone through; a symlink is labelled itself. */
const labelOne = (dir: number, name: Name, label: string): void => {
  setContext(pathAt(dir, name), label)
  let fd: number
  try {
    fd = openAt(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
  } catch (error) {
    if (isCode(error, 'ENOTDIR', 'ELOOP')) return
    throw error
  }
  try {
    labelBelow(fd, label)
  } finally {
    closeFd(fd)
  }
}

/** A link at the very top is followed. What lies on a file system without labels stays as it is. */
export const relabelTree = (source: string, label: string): void => {
  const real = realpathSync(source)
  using parent = owned(openAt(AT_FDCWD, path.dirname(real), O_PATH | O_DIRECTORY))
  try {
    labelOne(parent.fd, path.basename(real) || '.', label)
  } catch (error) {
    if (!isCode(error, 'EOPNOTSUPP', 'ENOTSUP')) throw error
  }
}
