import { fstatSync, openSync } from 'node:fs'
import path from 'node:path'
import { hasCode } from '../../../core/errors.ts'
import {
  AT_REMOVEDIR,
  chownAt,
  closeFd,
  makeDirAt,
  makeNodeAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  openIn,
  owned,
  setTimesFd,
  unlinkAt,
} from '../../../linux/files.ts'

/**
 * Places for a step's mounts, where its root has none: made before it runs, taken away after it, so that nothing of
 * them, and no new time of a folder that they were in, is in what it leaves.
 */

export interface WantedPlace {
  /** Absolute and clean. */
  destination: string
  isDirectory: boolean
}

const isThere = (root: number, name: string): boolean => {
  try {
    closeFd(openIn(root, name, { flags: O_PATH }))
    return true
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false
    throw error
  }
}

/** The paths from the first that is missing down to the place itself. */
const missing = (root: number, destination: string): string[] => {
  const names = destination.split('/').filter(Boolean)
  const paths = names.map((_, index) => names.slice(0, index + 1).join('/'))
  const first = paths.findIndex(name => !isThere(root, name))
  return first === -1 ? [] : paths.slice(first)
}

/** Does something in a folder, which keeps its times. */
const within = (root: number, name: string, work: (parent: number, base: string) => void): void => {
  const parent = path.dirname(name)
  using folder = owned(openIn(root, parent, { flags: O_RDONLY | O_DIRECTORY }))
  const { atimeNs, mtimeNs } = fstatSync(folder.fd, { bigint: true })
  work(folder.fd, path.basename(name))
  setTimesFd(folder.fd, atimeNs, mtimeNs)
}

const regularFile = 0o100000

const make = (
  root: number,
  name: string,
  { isDirectory, owner }: { isDirectory: boolean; owner: { uid: number; gid: number } | undefined },
): void =>
  within(root, name, (dir, base) => {
    if (isDirectory) makeDirAt(dir, base, 0o755)
    else makeNodeAt({ dir, name: base }, regularFile | 0o644)
    if (owner) chownAt({ dir, name: base }, owner.uid, owner.gid)
  })

/** What the step itself made of it stays. */
const remove = (root: number, name: string, isDirectory: boolean): void => {
  try {
    within(root, name, (dir, base) => {
      if (isDirectory) return unlinkAt(dir, base, AT_REMOVEDIR)
      using file = owned(openIn(dir, base, { flags: O_PATH | O_NOFOLLOW }))
      const found = fstatSync(file.fd)
      if (found.isFile() && found.size === 0) unlinkAt(dir, base)
    })
  } catch (error) {
    const left = ['ENOENT', 'ENOTEMPTY', 'ENOTDIR', 'ELOOP', 'EEXIST']
    if (!left.some(code => hasCode(error, code))) throw error
  }
}

/** `owner`: of what is made, in the host's numbers. Nothing may run in the root while they are made or taken away. */
export const makePlaces = (
  rootfs: string,
  places: readonly WantedPlace[],
  owner?: { uid: number; gid: number },
): Disposable => {
  using root = owned(openSync(rootfs, 'r'))
  const made: { name: string; isDirectory: boolean }[] = []
  for (const { destination, isDirectory } of places) {
    const paths = missing(root.fd, destination)
    for (const [index, name] of paths.entries()) {
      const isFolder = isDirectory || index < paths.length - 1
      make(root.fd, name, { isDirectory: isFolder, owner })
      made.push({ name, isDirectory: isFolder })
    }
  }
  return {
    [Symbol.dispose]: () => {
      using again = owned(openSync(rootfs, 'r'))
      for (const { name, isDirectory } of made.toReversed()) remove(again.fd, name, isDirectory)
    },
  }
}
