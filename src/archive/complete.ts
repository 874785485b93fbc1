import { badRequest } from '../core/errors.ts'
import { SystemError } from '../linux/ffi.ts'
import {
  AT_FDCWD,
  linkAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  openAt,
  owned,
  setTimesFd,
} from '../linux/files.ts'
import { isDirectory, statFd, statIfThere } from '../linux/stat.ts'
import { copyEntry, copyMetadata, type EntryAt } from './copy.ts'
import { Directories } from './directories.ts'
import { measureTree, type TreeSize } from './measure.ts'
import { type MergedDirectory, mergedRoot, type StackLayer, withMerged } from './merged.ts'
import { type ByteString, baseOf, parentOf, show, toBytes } from './paths.ts'

export interface CompleteTask {
  directory: string
  links: [ByteString, ByteString][]
  implied: ByteString[]
  /** The layers below, bottom first. */
  below: StackLayer[]
}

/** Runs `change` in a directory and gives it its old time back. */
const keepingTime = (dir: number, change: () => void): void => {
  const { mtime } = statFd(dir)
  change()
  setTimesFd(dir, mtime, mtime)
}

/**
 * Completes a layer that does not stand alone: targets of hard links are
 * copied in from the layers below, directories that its archive did not tell of
 * take their metadata from there. Errors: `bad-request` where a target is nowhere.
 */
export const completeLayer = (task: CompleteTask): TreeSize => {
  using root = owned(openAt(AT_FDCWD, task.directory, O_RDONLY | O_DIRECTORY))
  using directories = new Directories(root.fd)
  using below = mergedRoot(task.below)
  for (const path of task.implied) adoptMetadata(below, directories, path)
  const copied = new Map<ByteString, ByteString>()
  for (const [path, target] of task.links) {
    const dir = directories.make(parentOf(path))
    keepingTime(dir, () => {
      const own = findOwn(directories, copied.get(target) ?? target)
      if (own) linkAt(own, { dir, name: toBytes(baseOf(path)) })
      else copyFromBelow(below, target, { dir, name: baseOf(path) })
    })
    if (!copied.has(target)) copied.set(target, path)
  }
  return measureTree(root.fd)
}

const adoptMetadata = (below: MergedDirectory, directories: Directories, path: ByteString): void =>
  withMerged(below, path, found => {
    if (!found || !isDirectory(found.stat)) return
    using source = owned(openAt(found.dir, toBytes(baseOf(path)), O_RDONLY | O_DIRECTORY | O_NOFOLLOW))
    copyMetadata(source.fd, directories.find(path), found.stat)
  })

const copyFromBelow = (below: MergedDirectory, target: ByteString, to: EntryAt): void =>
  withMerged(below, target, found => {
    if (!found || isDirectory(found.stat))
      throw badRequest(
        `the layer links ${show(to.name)} to ${show(target)}, which is neither in it nor in the layers below`,
      )
    copyEntry({ dir: found.dir, name: baseOf(target) }, to, found.stat)
  })

/** A name that the layer itself has. */
const findOwn = (directories: Directories, path: ByteString): { dir: number; name: Buffer } | undefined => {
  try {
    const at = { dir: directories.find(parentOf(path)), name: toBytes(baseOf(path)) }
    return statIfThere(at.dir, at.name) ? at : undefined
  } catch (error) {
    if (error instanceof SystemError && ['ENOENT', 'ENOTDIR'].includes(error.code)) return undefined
    throw error
  }
}
