import { readdirSync } from 'node:fs'
import { SystemError } from '../linux/ffi.ts'
import {
  AT_REMOVEDIR,
  closeFd,
  type Name,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  openIn,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
  renameAt,
  unlinkAt,
} from '../linux/files.ts'

/** Removal of trees by descriptor: names are bytes, depth is no limit, mounts below are never entered. */

const isCode = (error: unknown, ...codes: string[]): boolean =>
  error instanceof SystemError && codes.includes(error.code)

/** Opens a directory that is not a symlink and not a mount. */
const openChild = (dir: number, name: Name): number =>
  openIn(dir, name, {
    flags: O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
    resolve: RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
  })

// Each level holds a descriptor; what lies deeper is moved up and removed afterwards.
const DEPTH = 128

class TreeRemoval {
  readonly #top: number
  readonly #late: string[] = []
  #counter = 0

  constructor(top: number) {
    this.#top = top
  }

  run(): void {
    this.#empty(this.#top, 0)
    for (let name = this.#late.pop(); name !== undefined; name = this.#late.pop())
      this.#remove(this.#top, name, 1)
  }

  #empty(dir: number, depth: number): void {
    for (const child of readdirSync(`/proc/self/fd/${dir}`, { encoding: 'buffer', withFileTypes: true }))
      if (child.isDirectory()) this.#remove(dir, child.name, depth + 1)
      else unlinkIfThere(dir, child.name)
  }

  #remove(dir: number, name: Name, depth: number): void {
    if (depth > DEPTH) {
      this.#postpone(dir, name)
      return
    }
    const child = openChild(dir, name)
    try {
      this.#empty(child, depth)
    } finally {
      closeFd(child)
    }
    unlinkAt(dir, name, AT_REMOVEDIR)
  }

  #postpone(dir: number, name: Name): void {
    const moved = `.berth-removed-${this.#counter++}`
    renameAt({ dir, name }, { dir: this.#top, name: moved })
    this.#late.push(moved)
  }
}

const unlinkIfThere = (dir: number, name: Name): void => {
  try {
    unlinkAt(dir, name)
  } catch (error) {
    if (!isCode(error, 'ENOENT')) throw error
  }
}

/** Removes whatever has this name, a whole tree too. Absent is fine. Errors: SystemError (EBUSY, EXDEV at a mount). */
export const removeAt = (dir: number, name: Name): void => {
  try {
    unlinkAt(dir, name)
    return
  } catch (error) {
    if (isCode(error, 'ENOENT')) return
    if (!isCode(error, 'EISDIR', 'EPERM')) throw error
  }
  const tree = openChild(dir, name)
  try {
    new TreeRemoval(tree).run()
  } finally {
    closeFd(tree)
  }
  unlinkAt(dir, name, AT_REMOVEDIR)
}
