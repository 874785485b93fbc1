import {
  AT_FDCWD,
  closeFd,
  makeNodeAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  openAt,
  owned,
  setTimesFd,
  unlinkAt,
} from '../linux/files.ts'
import { isDirectory, S_IFCHR, S_IFMT, S_IFSOCK, statAt, statFd } from '../linux/stat.ts'
import type { RootMetadata } from './layer.ts'
import { measureTree, type TreeSize } from './measure.ts'
import { isOpaque, type MergedDirectory, mergedRoot, namesOf, type StackLayer, withMerged } from './merged.ts'
import { type ByteString, joinPath, toBytes } from './paths.ts'

export interface SettleTask {
  /** What was written over the layers. */
  directory: string
  /** Bottom first. */
  layers: StackLayer[]
  /** Whiteouts are in a file, not in the directory. */
  isRecorded: boolean
}

export interface SettledLayer extends TreeSize {
  root: RootMetadata
  opaqueRoot: boolean
}

/** Sockets are in no archive, so the layer is not to have them either. */
class SocketRemoval {
  readonly #lower: MergedDirectory
  readonly #isRecorded: boolean

  constructor(lower: MergedDirectory, isRecorded: boolean) {
    this.#lower = lower
    this.#isRecorded = isRecorded
  }

  /** Directories keep their times. */
  directory(dir: number, path: ByteString): void {
    const { mtime } = statFd(dir)
    for (const name of namesOf(dir)) {
      const stat = statAt(dir, toBytes(name))
      if ((stat.mode & S_IFMT) === S_IFSOCK) this.#socket(dir, name, joinPath(path, name))
      else if (isDirectory(stat)) this.#child(dir, name, joinPath(path, name))
    }
    setTimesFd(dir, mtime, mtime)
  }

  #child(dir: number, name: ByteString, path: ByteString): void {
    const fd = openAt(dir, toBytes(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    try {
      this.directory(fd, path)
    } finally {
      closeFd(fd)
    }
  }

  /** What it hid stays hidden. */
  #socket(dir: number, name: ByteString, path: ByteString): void {
    unlinkAt(dir, toBytes(name))
    const isHiding = !this.#isRecorded && withMerged(this.#lower, path, entry => entry !== undefined)
    if (isHiding) makeNodeAt({ dir, name: toBytes(name) }, S_IFCHR)
  }
}

/** Makes a layer of what was written, and tells its size. */
export const settleLayer = ({ directory, layers, isRecorded }: SettleTask): SettledLayer => {
  using root = owned(openAt(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY))
  let hasSockets = false
  let size = measureTree(root.fd, {
    onSocket: () => {
      hasSockets = true
    },
  })
  if (hasSockets) {
    using lower = mergedRoot(layers)
    new SocketRemoval(lower, isRecorded).directory(root.fd, '')
    size = measureTree(root.fd)
  }
  const { mode, uid, gid } = statFd(root.fd)
  return { ...size, root: { mode: mode & 0o7777, uid, gid }, opaqueRoot: isOpaque(root.fd) }
}
