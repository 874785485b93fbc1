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
  readonly #onReleased: (user: string) => void
  readonly #users = new Map<Digest, Set<string>>()
  readonly #aside = new Map<Digest, string[]>()

  /** `directory`: where folders are put aside; what is left of them by a crash goes with what is unfinished there. */
  constructor(options: { directory: string; trash: Trash; onReleased: (user: string) => void }) {
    this.#directory = options.directory
    this.#trash = options.trash
    this.#onReleased = options.onReleased
  }

  users(key: Digest): string[] {
    return [...(this.#users.get(key) ?? [])]
  }

  /** Until it is disposed of; twice is fine. */
  hold(layers: readonly Layer[]): Disposable {
    const user = `build-${nonce()}${nonce()}`
    const keys = new Set(layers.map(({ key }) => key))
    for (const key of keys) this.#users.set(key, (this.#users.get(key) ?? new Set()).add(user))
    let isHeld = true
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return
        isHeld = false
        for (const key of keys) this.#release(key, user)
        this.#onReleased(user)
      },
    }
  }

  /** Takes a folder away that has been this layer's; its content goes with the last of its mounts. */
  discard(home: string, key: Digest): void {
    if (!this.#users.has(key)) {
      this.#trash.take(home)
      return
    }
    const aside = join(this.#directory, `${UNFINISHED}aside-${nonce()}${nonce()}`)
    renameSync(home, aside)
    this.#aside.set(key, [...(this.#aside.get(key) ?? []), aside])
  }

  #release(key: Digest, user: string): void {
    const users = this.#users.get(key)
    users?.delete(user)
    if (!users || users.size > 0) return
    this.#users.delete(key)
    for (const home of this.#aside.get(key) ?? []) this.#trash.take(home)
    this.#aside.delete(key)
  }
}
