import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { hasCode } from '../../core/errors.ts'
import { O_NONBLOCK, O_RDONLY, openIn } from '../../linux/files.ts'
import { type ProcessUser, resolveUser } from './users.ts'

/** A larger passwd or group file is not read: an image must not be able to fill the daemon's memory. */
const maxSize = 4 * 1024 * 1024

/** A regular file of a root, links resolved inside it; empty where there is none. */
const readContained = (root: number, name: string): string => {
  let fd: number
  try {
    fd = openIn(root, name, { flags: O_RDONLY | O_NONBLOCK })
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES'].some(code => hasCode(error, code))) return ''
    throw error
  }
  try {
    const found = fstatSync(fd)
    return found.isFile() && found.size <= maxSize ? readFileSync(fd, 'utf8') : ''
  } finally {
    closeSync(fd)
  }
}

/** The user of a container's process, by the passwd and group files of its root. */
export const containerUser = (rootfs: string, user: string, groupAdd: readonly string[]): ProcessUser => {
  const root = openSync(rootfs, 'r')
  try {
    return resolveUser({
      user,
      groupAdd,
      passwd: readContained(root, 'etc/passwd'),
      group: readContained(root, 'etc/group'),
    })
  } finally {
    closeSync(root)
  }
}
