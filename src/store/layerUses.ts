import { renameSync } from 'node:fs'
import { join } from 'node:path'
import { nonce } from '../core/ids.ts'
import type { Digest } from '../oci/digest.ts'
import { UNFINISHED } from './durable.ts'
import type { Trash } from './trash.ts'
import type { Layer } from './types.ts'

/**
 * Which layers something is mounted over. Overlayfs goes on with the folders
 * that it was mounted over, whatever they are called, but not without what is in
 * them: so a folder that is to go is only put aside while there are such mounts.
 */
export class LayerUses {
  readonly #directory: string
  readonly #trash: Trash
  readonly #counts = new Map<Digest, number>()
  readonly #aside = new Map<Digest, string[]>()

  /** `directory`: where folders are put aside; what is left of them by a crash goes with what is unfinished there. */
  constructor(directory: string, trash: Trash) {
    this.#directory = directory
    this.#trash = trash
  }

  has(key: Digest): boolean {
    return this.#counts.has(key)
  }

  /** Until it is disposed of; twice is fine. */
  hold(layers: readonly Layer[]): Disposable {
    const keys = layers.map(({ key }) => key)
    for (const key of keys) this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1)
    return {
      [Symbol.dispose]: () => {
        for (const key of keys.splice(0)) this.#release(key)
      },
    }
  }

  /** Takes a folder away that has been this layer's; its content goes with the last of its mounts. */
  discard(home: string, key: Digest): void {
    if (!this.has(key)) {
      this.#trash.take(home)
      return
    }
    const aside = join(this.#directory, `${UNFINISHED}aside-${nonce()}${nonce()}`)
    renameSync(home, aside)
    this.#aside.set(key, [...(this.#aside.get(key) ?? []), aside])
  }

  #release(key: Digest): void {
    const left = (this.#counts.get(key) ?? 1) - 1
    if (left > 0) {
      this.#counts.set(key, left)
      return
    }
    this.#counts.delete(key)
    for (const home of this.#aside.get(key) ?? []) this.#trash.take(home)
    this.#aside.delete(key)
  }
}
