import { formatNanos } from '../../core/clock.ts'
import { hasCode } from '../../core/errors.ts'
import { O_NOFOLLOW, O_PATH, openIn, owned, readLinkAt } from '../../linux/files.ts'
import {
  type FileStat,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFSOCK,
  statFd,
} from '../../linux/stat.ts'

/** Paths of `docker cp`: how they are read, and what one names. */

/** Engine API `ContainerPathStat`, sent in `X-Docker-Container-Path-Stat`. */
export interface PathStat {
  name: string
  size: number
  /** Go's `os.FileMode` bits. */
  mode: number
  mtime: string
  linkTarget: string
}

const maxLinks = 255

/** Cleaned and absolute; a `/` or `/.` at the end stays, for it means "what this leads to". */
export const absolutePath = (given: string): string => {
  const parts: string[] = []
  for (const part of given.split('/'))
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  const clean = `/${parts.join('/')}`
  if (/(^|\/)\.$/.test(given)) return clean === '/' ? '/.' : `${clean}/.`
  return given.endsWith('/') && clean !== '/' ? `${clean}/` : clean
}

/** The last element as Go's `filepath.Base` tells it. */
export const lastElement = (name: string): string => {
  const trimmed = name.replace(/\/+$/, '')
  return trimmed === '' ? '/' : trimmed.slice(trimmed.lastIndexOf('/') + 1)
}

const typeBits = new Map<number, number>([
  [S_IFDIR, 2 ** 31],
  [S_IFLNK, 2 ** 27],
  [S_IFBLK, 2 ** 26],
  [S_IFIFO, 2 ** 25],
  [S_IFSOCK, 2 ** 24],
  [S_IFCHR, 2 ** 26 + 2 ** 21],
])

/** Go's `os.FileMode` for a mode of stat(2). */
export const goFileMode = (mode: number): number =>
  (mode & 0o777) +
  (typeBits.get(mode & S_IFMT) ?? 0) +
  (mode & 0o4000 ? 2 ** 23 : 0) +
  (mode & 0o2000 ? 2 ** 22 : 0) +
  (mode & 0o1000 ? 2 ** 20 : 0)

/** The target where this name is a symlink; undefined where it is something else or not there. */
const linkAt = (root: number, name: string): string | undefined => {
  try {
    using link = owned(openIn(root, name, { flags: O_PATH | O_NOFOLLOW }))
    if ((statFd(link.fd).mode & S_IFMT) !== S_IFLNK) return undefined
    return readLinkAt(link.fd, '').toString('utf8')
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP'].some(code => hasCode(error, code))) return undefined
    throw error
  }
}

/**
 * The absolute path that a name leads to when every symlink is followed inside
 * the root; what is missing is taken as it stands. For showing and comparing:
 * whoever opens the result resolves it again.
 */
export const followLinks = (root: number, name: string): string => {
  const left = name.split('/')
  let done: string[] = []
  let links = 0
  for (let part = left.shift(); part !== undefined; part = left.shift()) {
    if (part === '' || part === '.') continue
    if (part === '..') {
      done.pop()
      continue
    }
    const target = linkAt(root, [...done, part].join('/'))
    if (target === undefined || ++links > maxLinks) {
      done.push(part)
      continue
    }
    if (target.startsWith('/')) done = []
    left.unshift(...target.split('/'))
  }
  return `/${done.join('/')}`
}

/** What a name below an open root is; its last element is not followed unless `/` ends it. Errors: SystemError. */
export const statInside = (root: number, name: string): FileStat => {
  using found = owned(openIn(root, name, { flags: O_PATH | O_NOFOLLOW }))
  return statFd(found.fd)
}

/** Whole seconds before 1970, where the fraction would count backwards. */
const timeText = (mtime: bigint): string =>
  formatNanos(mtime < 0n ? -((999_999_999n - mtime) / 1_000_000_000n) * 1_000_000_000n : mtime)

export const pathStat = (root: number, name: string): PathStat => {
  const stat = statInside(root, name)
  return {
    name: lastElement(name),
    size: stat.size,
    mode: goFileMode(stat.mode),
    mtime: timeText(stat.mtime),
    linkTarget: (stat.mode & S_IFMT) === S_IFLNK ? followLinks(root, name) : '',
  }
}
