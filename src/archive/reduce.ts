import { writeFileSync } from 'node:fs'
import {
  AT_FDCWD,
  closeFd,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  openAt,
  owned,
  setTimesFd,
} from '../linux/files.ts'
import { isDirectory, statAt, statFd } from '../linux/stat.ts'
import { treeChanges } from './changes.ts'
import { mergedRoot, namesOf, type StackLayer, type WhiteoutRecord } from './merged.ts'
import { type ByteString, joinPath, toBytes } from './paths.ts'
import { removeAt } from './removal.ts'

export interface ReduceTask {
  /** A whole copy of the layers, changed since. */
  directory: string
  /** Bottom first. */
  layers: StackLayer[]
  /** Gets the whiteouts, where there are some. */
  record: string
}

/** Directories keep their times. */
const removeUnchanged = (dir: number, path: ByteString, changed: ReadonlySet<ByteString>): void => {
  const { mtime } = statFd(dir)
  for (const name of namesOf(dir)) {
    const child = joinPath(path, name)
    if (!changed.has(child)) removeAt(dir, toBytes(name))
    else if (isDirectory(statAt(dir, toBytes(name)))) {
      const fd = openAt(dir, toBytes(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
      try {
        removeUnchanged(fd, child, changed)
      } finally {
        closeFd(fd)
      }
    }
  }
  setTimesFd(dir, mtime, mtime)
}

/** Leaves of a whole copy of a stack what makes it a layer over that stack. */
export const reduceCopy = ({ directory, layers, record }: ReduceTask): void => {
  using root = owned(openAt(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY))
  using lower = mergedRoot(layers)
  const changes = treeChanges(root.fd, lower, 'full')
  const deleted = changes.filter(({ kind }) => kind === 'deleted').map(({ path }) => path)
  if (deleted.length > 0) {
    const marks: WhiteoutRecord = { whiteouts: deleted, opaques: [] }
    writeFileSync(record, JSON.stringify(marks))
  }
  removeUnchanged(root.fd, '', new Set(changes.map(({ path }) => path)))
}
