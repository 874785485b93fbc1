import { type ByteString, baseOf, parentOf, show } from '../../archive/paths.ts'
import { badRequest } from '../../core/errors.ts'

/**
 * The order in which fsutil's entries come: a directory, then all that is below
 * it, names in the order of their bytes. Whoever holds to it can name no path
 * whose directories it has not sent before as such.
 */

interface Level {
  path: ByteString
  /** The name that came last. */
  last: ByteString
}

const refused = (what: string, path: ByteString): Error =>
  badRequest(`${what} ${show(path)}: invalid argument`)

const checkPath = (path: ByteString): void => {
  if (path.startsWith('/')) throw refused('absolute path', path)
  if (path.split('/').includes('..')) throw refused('escape check', path)
  if (path === '' || path.includes('\0') || /(^|\/)(\.?)(\/|$)/.test(path))
    throw refused('unclean path', path)
}

export class PacketOrder {
  readonly #levels: Level[] = [{ path: '', last: '' }]
  readonly #onLeave: (path: ByteString) => void

  /** `onLeave` hears of each directory once nothing more comes of it, the root last. */
  constructor(onLeave: (path: ByteString) => void = () => {}) {
    this.#onLeave = onLeave
  }

  /** Errors: `bad-request` for a path that is not clean, leads out, or is out of order. */
  next(path: ByteString, isDirectory: boolean): void {
    checkPath(path)
    const parent = parentOf(path)
    const base = baseOf(path)
    while (this.#top.path !== parent && this.#levels.length > 1) this.#leave()
    const top = this.#top
    if (top.path !== parent || top.last >= base)
      throw badRequest(
        `changes out of order: ${show(path)} ${show(top.path === '' ? top.last : `${top.path}/${top.last}`)}`,
      )
    top.last = base
    if (isDirectory) this.#levels.push({ path, last: '' })
  }

  end(): void {
    while (this.#levels.length > 0) this.#leave()
  }

  get #top(): Level {
    return this.#levels.at(-1) ?? { path: '', last: '' }
  }

  #leave(): void {
    const level = this.#levels.pop()
    if (level) this.#onLeave(level.path)
  }
}
