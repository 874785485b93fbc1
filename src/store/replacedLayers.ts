import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { failpoint } from '../core/failpoint.ts'
import { nonce } from '../core/ids.ts'
import { SystemError } from '../linux/ffi.ts'
import { AT_FDCWD, renameAt } from '../linux/files.ts'
import type { Digest } from '../oci/digest.ts'
import type { Trash } from './trash.ts'

/** Prefix of layers that others have taken the place of, and that containers may still have mounted. */
export const REPLACED = '.replaced-'

const USERS = 'users.json'
const RENAME_EXCHANGE = 2

/** Both change their names in one step, where the file system can do that. */
const exchange = (one: string, other: string): void => {
  try {
    renameAt({ dir: AT_FDCWD, name: one }, { dir: AT_FDCWD, name: other }, RENAME_EXCHANGE)
  } catch (error) {
    if (!(error instanceof SystemError) || error.code !== 'EINVAL') throw error
    // Between the two there is no such layer: after a death there it is unpacked again.
    const aside = `${other}-aside`
    renameSync(one, aside)
    renameSync(other, one)
    renameSync(aside, other)
  }
}

/** Undefined where nobody wrote them down: then it is everybody who has such a layer mounted. */
const readUsers = (home: string): string[] | undefined => {
  try {
    const users: unknown = JSON.parse(readFileSync(join(home, USERS), 'utf8'))
    return Array.isArray(users) ? users.filter(id => typeof id === 'string') : undefined
  } catch {
    return undefined
  }
}

/**
 * Layers that were replaced under running containers. A mount goes on with the
 * directory that it was made of, whatever that is called now; so the old one
 * stays, with a list of the containers that had it mounted, until the last of
 * them has let go of its mount.
 */
export class ReplacedLayers {
  readonly #directory: string
  readonly #trash: Trash
  readonly #users = new Map<string, Set<string>>()

  /** `directory` holds the layers. */
  constructor(directory: string, trash: Trash) {
    this.#directory = directory
    this.#trash = trash
  }

  /** Puts a finished layer in the place of another; `users` have that one mounted. Within one turn of the loop, so that nobody mounts in between. */
  replace(home: string, fresh: string, users: readonly string[]): void {
    const old = join(this.#directory, `${REPLACED}${basename(home)}-${nonce()}`)
    writeFileSync(join(home, USERS), JSON.stringify(users))
    renameSync(fresh, old)
    failpoint('layers.before-exchange')
    exchange(home, old)
    failpoint('layers.exchanged')
    this.#users.set(old, new Set(users))
    this.#settle(old)
  }

  /** A container has let go of its mount. */
  released(id: string): void {
    for (const [home, users] of this.#users) {
      if (!users.delete(id)) continue
      // Written before anything mounts again: a list that names it then would be of the wrong mount.
      if (users.size > 0) writeFileSync(join(home, USERS), JSON.stringify([...users]))
      this.#settle(home)
    }
  }

  /** At a start, before mounts are looked at: a folder that is no layer any more, and that somebody may have mounted. */
  setAside(home: string): void {
    rmSync(join(home, USERS), { force: true })
    renameSync(home, join(this.#directory, `${REPLACED}${basename(home)}-${nonce()}`))
  }

  /** At a start, when mounts have been looked at: what nobody has mounted any more goes. */
  recover(mountedWith: (key: Digest) => string[]): void {
    for (const name of readdirSync(this.#directory)) {
      if (!name.startsWith(REPLACED)) continue
      const home = join(this.#directory, name)
      const mounted = mountedWith(`sha256:${name.slice(REPLACED.length).split('-')[0]}`)
      const noted = readUsers(home)
      const users = noted ? mounted.filter(id => noted.includes(id)) : mounted
      writeFileSync(join(home, USERS), JSON.stringify(users))
      this.#users.set(home, new Set(users))
      this.#settle(home)
    }
  }

  /** Their folders. */
  homes(): string[] {
    return [...this.#users.keys()]
  }

  #settle(home: string): void {
    if (this.#users.get(home)?.size !== 0) return
    this.#users.delete(home)
    this.#trash.take(home)
    failpoint('layers.replaced-gone')
  }
}
