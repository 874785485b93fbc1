import { closeFd, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, openAt } from '../linux/files.ts'
import { isDirectory, isWhiteout, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK, statAt, statFd } from '../linux/stat.ts'
import { namesOf } from './merged.ts'
import { toBytes } from './paths.ts'

export interface TreeSize {
  /** Sum of regular files' sizes, each inode once; with `symlinks` also the length of theirs. */
  size: number
  /** Blocks of everything, each inode once, the directory itself included, as `du`. */
  diskBytes: number
  /** Names, without whiteouts. */
  entries: number
}

/** Sums up the tree below an open directory. Names that vanish meanwhile are passed over. */
export const measureTree = (
  root: number,
  options: { symlinks?: boolean; onSocket?: () => void } = {},
): TreeSize => {
  const sum: TreeSize = { size: 0, diskBytes: statFd(root).diskBytes, entries: 0 }
  const counted = options.symlinks ? [S_IFREG, S_IFLNK] : [S_IFREG]
  measureInto(root, { sum, counted, seen: new Set(), onSocket: options.onSocket ?? (() => {}) })
  return sum
}

interface Measuring {
  sum: TreeSize
  /** Types whose sizes count. */
  counted: number[]
  /** Inodes of several names. */
  seen: Set<number>
  onSocket: () => void
}

const measureInto = (dir: number, measuring: Measuring): void => {
  const { sum, counted, seen, onSocket } = measuring
  for (const name of namesOf(dir).map(toBytes))
    try {
      const stat = statAt(dir, name)
      if (!isWhiteout(stat)) sum.entries++
      if (stat.links > 1 && !isDirectory(stat)) {
        if (seen.has(stat.inode)) continue
        seen.add(stat.inode)
      }
      sum.diskBytes += stat.diskBytes
      if (counted.includes(stat.mode & S_IFMT)) sum.size += stat.size
      if ((stat.mode & S_IFMT) === S_IFSOCK) onSocket()
      if (isDirectory(stat)) descend(dir, name, fd => measureInto(fd, measuring))
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
    }
}

const descend = (dir: number, name: Buffer, use: (fd: number) => void): void => {
  const fd = openAt(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
  try {
    use(fd)
  } finally {
    closeFd(fd)
  }
}
