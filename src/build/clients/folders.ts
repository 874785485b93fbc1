import { createHash } from 'node:crypto'
import { statSync } from 'node:fs'
import path from 'node:path'
import { namesIn } from '../../linux/files.ts'
import { makeTreesFolder } from '../../linux/unrelatedTrees.ts'
import type { Trash } from '../../store/trash.ts'
import { ContextFolder, type SyncOptions } from '../session/contextSync.ts'
import { ContextWorker } from '../session/contextWorker.ts'
import type { HeldFolder } from './types.ts'

const folderForm = /^[0-9a-f]{64}-\d+$/

/** Times in milliseconds since the epoch. */
export interface FolderUsage {
  id: string
  path: string
  inUse: boolean
  createdAt: number
  lastUsedAt: number
  usageCount: number
}

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
  readonly #trash: Pick<Trash, 'take'>

  constructor(root: string, trash: Pick<Trash, 'take'>) {
    this.#root = root
    this.#trash = trash
  }

  usage(): FolderUsage[] {
    return namesIn(this.#root)
      .filter(name => folderForm.test(name))
      .flatMap(id => {
        const folder = path.join(this.#root, id)
        // What is taken away meanwhile is none.
        const stat = statSync(`${folder}.index`, { throwIfNoEntry: false })
        const [createdAt, lastUsedAt] = [stat?.birthtimeMs ?? 0, stat?.mtimeMs ?? 0]
        return [{ id, path: folder, inUse: this.#taken.has(id), createdAt, lastUsedAt, usageCount: 1 }]
      })
  }

  /** Out of the way when it returns. False where it is in use, or not there. */
  remove(id: string): boolean {
    if (!folderForm.test(id) || this.#taken.has(id) || !namesIn(this.#root).includes(id)) return false
    this.#folders.delete(id)
    // The index last: one without a folder is made anew.
    for (const name of [id, `${id}.arriving`, `${id}.index`]) this.#trash.take(path.join(this.#root, name))
    return true
  }

  async take(key: string, options: SyncOptions): Promise<HeldFolder> {
    const name = this.#free(createHash('sha256').update(key).digest('hex'))
    makeTreesFolder(this.#root, 0o700)
    const folder = this.#folders.get(name) ?? new ContextFolder(path.join(this.#root, name), this.#worker)
    this.#folders.set(name, folder)
    this.#taken.add(name)
    try {
      const { entries, version } = await folder.sync(options)
      return {
        path: folder.path,
        entries,
        version,
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
