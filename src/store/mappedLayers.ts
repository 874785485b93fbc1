import { mkdirSync, readdirSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { failpoint } from '../core/failpoint.ts'
import { nonce } from '../core/ids.ts'
import { AT_FDCWD, namesIn, O_DIRECTORY, O_PATH, O_RDONLY, openAt, owned } from '../linux/files.ts'
import {
  attachMount,
  cloneMount,
  makeHiddenMount,
  mapOwners,
  removeMountedDirectory,
} from '../linux/mount.ts'

/**
 * Directories seen with their owners mapped, for as long as an overlay is made
 * of them: overlayfs keeps mounts of its own of what it is given. They are
 * attached below one hidden folder, as overlayfs takes paths only.
 */
export interface MappedDirectory {
  path: string
  /** The user namespace whose maps count. */
  namespace: number
}

export interface MappedPlaces extends Disposable {
  /** In the order of the directories. */
  paths: string[]
}

const endPlaces = (group: string): void => {
  for (const name of readdirSync(group)) removeMountedDirectory(join(group, name))
  rmdirSync(group)
}

/** A mount that shows one directory with its owners mapped. */
export const mountMapped = ({ path, namespace }: MappedDirectory, target: string): void => {
  using found = owned(openAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_PATH))
  using tree = owned(cloneMount(found.fd, { recursive: false }))
  mapOwners(tree.fd, { namespace, recursive: false })
  attachMount(tree.fd, target)
}

/** `folder` is of such places alone. Errors: SystemError, EINVAL where the file system cannot. */
export const mapDirectories = (folder: string, directories: readonly MappedDirectory[]): MappedPlaces => {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  makeHiddenMount(folder)
  const group = join(folder, nonce())
  mkdirSync(group, { mode: 0o700 })
  try {
    for (const [index, directory] of directories.entries()) {
      const place = join(group, String(index))
      mkdirSync(place, { mode: 0o700 })
      mountMapped(directory, place)
    }
    failpoint('uppers.mapped')
    // By descriptor: a long path would not leave room for many layers.
    const parent = owned(openAt(AT_FDCWD, group, O_RDONLY | O_DIRECTORY | O_PATH))
    return {
      paths: directories.map((_, index) => `/proc/self/fd/${parent.fd}/${index}`),
      [Symbol.dispose]: () => {
        parent[Symbol.dispose]()
        endPlaces(group)
      },
    }
  } catch (error) {
    endPlaces(group)
    throw error
  }
}

/** At a start: takes away what a crash left. */
export const recoverMappedDirectories = (folder: string): void => {
  for (const name of namesIn(folder)) endPlaces(join(folder, name))
}
