import { internal } from '../core/errors.ts'
import { type IdMaps, mapText, withHostRoot } from '../linux/idMaps.ts'
import type { NamespaceHelper } from '../linux/namespaceHelper.ts'
import { openUserNamespace } from '../linux/userNamespace.ts'

/** How the owners on disk are to be seen in a mount: user namespaces with the maps, as descriptors. */
export interface MappedOwners {
  /** For what is only read. */
  layers: number
  /** For what is written to: root of the host has a number there as well, for what overlayfs makes in its own name. */
  written: number
}

/** User namespaces by their maps: each is made once, and kept for as long as the daemon lives. */
export class OwnerNamespaces {
  readonly #helper: NamespaceHelper | undefined
  readonly #open = new Map<string, Promise<number>>()

  constructor(helper: NamespaceHelper | undefined) {
    this.#helper = helper
  }

  async of(maps: IdMaps): Promise<MappedOwners> {
    const [layers, written] = await Promise.all([this.#namespace(maps), this.#namespace(withHostRoot(maps))])
    return { layers, written }
  }

  async #namespace(maps: IdMaps): Promise<number> {
    const key = `${mapText(maps.uids)}:${mapText(maps.gids)}`
    const known = this.#open.get(key)
    if (known !== undefined) return await known
    if (!this.#helper) throw internal('no user namespaces are made here')
    const made = openUserNamespace(this.#helper, maps)
    this.#open.set(key, made)
    try {
      return await made
    } catch (error) {
      this.#open.delete(key)
      throw error
    }
  }
}
