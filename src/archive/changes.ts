import { closeFd, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, openAt, readLinkAt } from '../linux/files.ts'
import { type FileStat, isDirectory, isWhiteout, S_IFLNK, S_IFMT, S_IFREG, statAt } from '../linux/stat.ts'
import { isOpaque, type MergedDirectory, type MergedEntry, namesOf } from './merged.ts'
import { type ByteString, comparePaths, joinPath, parentOf, toBytes } from './paths.ts'

/** What a writable tree changed against the layers below it. */

export type ChangeName = 'modified' | 'added' | 'deleted'

export interface TreeChange {
  path: ByteString
  kind: ChangeName
}

/**
 * `upper`: the tree is an overlayfs upper directory, and holds what changed.
 * `full`: it is a whole copy of the stack, and holds what did not change too.
 */
export type TreeKind = 'upper' | 'full'

const sameMetadata = (a: FileStat, b: FileStat): boolean =>
  a.mode === b.mode && a.uid === b.uid && a.gid === b.gid && a.mtime === b.mtime

const sameEntry = (at: { dir: number; name: ByteString; stat: FileStat }, lower: MergedEntry): boolean => {
  const { stat } = at
  const other = lower.stat
  if (!sameMetadata(stat, other)) return false
  const type = stat.mode & S_IFMT
  if (type === S_IFREG) return stat.size === other.size
  if (type === S_IFLNK)
    return readLinkAt(at.dir, toBytes(at.name)).equals(readLinkAt(lower.dir, toBytes(at.name)))
  return stat.rdevMajor === other.rdevMajor && stat.rdevMinor === other.rdevMinor
}

class ChangeWalk {
  readonly #kind: TreeKind
  readonly found = new Map<ByteString, ChangeName>()

  constructor(kind: TreeKind) {
    this.#kind = kind
  }

  directory(dir: number, path: ByteString, lower: MergedDirectory | undefined): void {
    const names = namesOf(dir)
    for (const name of names) this.#entry({ dir, name, stat: statAt(dir, toBytes(name)) }, path, lower)
    if (!lower || !(this.#kind === 'full' || isOpaque(dir))) return
    const here = new Set(names)
    for (const name of lower.names()) if (!here.has(name)) this.#note(joinPath(path, name), 'deleted')
  }

  #entry(
    at: { dir: number; name: ByteString; stat: FileStat },
    parent: ByteString,
    lower: MergedDirectory | undefined,
  ): void {
    const path = joinPath(parent, at.name)
    const below = lower?.lookUp(at.name)
    if (this.#kind === 'upper' && isWhiteout(at.stat)) {
      if (below) this.#note(path, 'deleted')
    } else if (isDirectory(at.stat)) this.#enter(at, path, below && lower)
    else if (!below) this.#note(path, 'added')
    else if (this.#kind === 'upper' || !sameEntry(at, below)) this.#note(path, 'modified')
  }

  #enter(
    at: { dir: number; name: ByteString; stat: FileStat },
    path: ByteString,
    parent: MergedDirectory | undefined,
  ): void {
    const below = parent?.lookUp(at.name)
    if (!below) this.#note(path, 'added')
    else if (!sameMetadata(at.stat, below.stat)) this.#note(path, 'modified')
    using lower = below && isDirectory(below.stat) ? parent?.enter(at.name) : undefined
    const fd = openAt(at.dir, toBytes(at.name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    try {
      this.directory(fd, path, lower)
    } finally {
      closeFd(fd)
    }
  }

  /** Directories above a change are shown as modified. */
  #note(path: ByteString, kind: ChangeName): void {
    this.found.set(path, kind)
    for (let at = parentOf(path); at !== '' && !this.found.has(at); at = parentOf(at))
      this.found.set(at, 'modified')
  }
}

/** Changes in byte order of their paths. Directories that were only copied up are left out. */
export const treeChanges = (root: number, lower: MergedDirectory, kind: TreeKind): TreeChange[] => {
  const walk = new ChangeWalk(kind)
  walk.directory(root, '', lower)
  return [...walk.found]
    .map(([path, name]) => ({ path, kind: name }))
    .sort((a, b) => comparePaths(a.path, b.path))
}
