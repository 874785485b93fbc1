import { closeFd, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, openAt } from '../linux/files.ts'
import { isDirectory, S_IFMT, S_IFREG, statAt, statFd } from '../linux/stat.ts'
import { namesOf } from './merged.ts'
import { toBytes } from './paths.ts'

export interface TreeSize {
  /** Sum of regular files' sizes, each inode once. */
  size: number
  /** Blocks of everything, each inode once, the directory itself included, as `du`. */
  diskBytes: number
  entries: number
}

/** Sums up the tree below an open directory. Names that vanish meanwhile are passed over. */
export const measureTree = (root: number): TreeSize => {
  const sum: TreeSize = { size: 0, diskBytes: statFd(root).diskBytes, entries: 0 }
  measureInto(root, sum, new Set())
  return sum
}

const measureInto = (dir: number, sum: TreeSize, seen: Set<number>): void => {
  for (const name of namesOf(dir).map(toBytes))
    try {
      const stat = statAt(dir, name)
      sum.entries++
      if (stat.links > 1 && !isDirectory(stat)) {
        if (seen.has(stat.inode)) continue
        seen.add(stat.inode)
      }
      sum.diskBytes += stat.diskBytes
      if ((stat.mode & S_IFMT) === S_IFREG) sum.size += stat.size
      if (isDirectory(stat)) descend(dir, name, fd => measureInto(fd, sum, seen))
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
