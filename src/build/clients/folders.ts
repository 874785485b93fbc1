import { createHash } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { ContextFolder, type SyncOptions } from '../session/contextSync.ts'
import { ContextWorker } from '../session/contextWorker.ts'
import type { HeldFolder } from './types.ts'

/**
 * Folders of clients on this disk, from one build to the next: what is unchanged
 * does not come again. One that a build has is not touched by others: who wants
 * it meanwhile gets another one of the same key.
 */
export class ClientFolders implements AsyncDisposable {
  readonly #root: string
  readonly #worker = new ContextWorker()
  readonly #folders = new Map<string, ContextFolder>()
  readonly #taken = new Set<string>()

  constructor(root: string) {
    this.#root = root
  }

  async take(key: string, options: SyncOptions): Promise<HeldFolder> {
    const name = this.#free(createHash('sha256').update(key).digest('hex'))
    mkdirSync(this.#root, { recursive: true, mode: 0o700 })
    const folder = this.#folders.get(name) ?? new ContextFolder(path.join(this.#root, name), this.#worker)
    this.#folders.set(name, folder)
    this.#taken.add(name)
    try {
      const { entries } = await folder.sync(options, async tree => tree)
      return {
        path: folder.path,
        entries,
        [Symbol.asyncDispose]: async () => void this.#taken.delete(name),
      }
    } catch (error) {
      this.#taken.delete(name)
      throw error
    }
  }

  #free(hash: string): string {
    for (let number = 0; ; number++) if (!this.#taken.has(`${hash}-${number}`)) return `${hash}-${number}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker[Symbol.asyncDispose]()
  }
}
