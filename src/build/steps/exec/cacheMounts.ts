import { chmod, chown, mkdir, readdir } from 'node:fs/promises'
import path from 'node:path'
import { failpoint } from '../../../core/failpoint.ts'
import { newId } from '../../../core/ids.ts'
import { makeTreesFolder } from '../../../linux/unrelatedTrees.ts'
import type { Database } from '../../../store/database.ts'
import type { Trash } from '../../../store/trash.ts'

/**
 * Folders that steps keep things in from one build to the next
 * (`RUN --mount=type=cache`): no part of any result.
 *
 * `<root>/<id>`, with a record of it: one without the other is nothing. What
 * shares a key shares a folder, as its users want it: `shared` with others that want so, `private` alone and in
 * another folder where all are taken, `locked` alone and in its turn.
 */

export type Sharing = 'shared' | 'private' | 'locked'

export interface WantedCache {
  /** The mount's id, and what it begins with. */
  key: string
  sharing: Sharing
  /** What the user knows it by. */
  description: string
  owner: { uid: number; gid: number; mode: number }
  /** Fills a new one. */
  fill?: (directory: string) => Promise<void>
}

/** Times in milliseconds since the epoch. */
interface Stored {
  id: string
  key: string
  description: string
  createdAt: number
  lastUsedAt: number
  usageCount: number
}

export interface CacheMountUsage extends Stored {
  path: string
  inUse: boolean
}

interface Folder extends Stored {
  users: number
  sharedByAll: boolean
}

export interface HeldCache extends AsyncDisposable {
  readonly path: string
}

const isFree = ({ users }: Folder): boolean => users === 0

const kind = 'cache-mount'

export class CacheMounts {
  readonly #root: string
  readonly #database: Pick<Database, 'load' | 'write'>
  readonly #trash: Pick<Trash, 'take'>
  readonly #folders = new Map<string, Folder>()
  /** Being made, by key: the next of that key waits for it. */
  readonly #making = new Map<string, Promise<unknown>>()
  readonly #waiting = new Map<string, (() => void)[]>()

  constructor(parts: {
    root: string
    database: Pick<Database, 'load' | 'write'>
    trash: Pick<Trash, 'take'>
  }) {
    this.#root = parts.root
    this.#database = parts.database
    this.#trash = parts.trash
  }

  /** Folders without a record are removed, records without a folder forgotten; once, before anything else. */
  async recover(): Promise<void> {
    makeTreesFolder(this.#root, 0o700)
    const there = new Set(await readdir(this.#root))
    const lost: string[] = []
    for (const { id, value } of await this.#database.load(kind)) {
      if (there.delete(id)) this.#folders.set(id, { ...(value as Stored), users: 0, sharedByAll: false })
      else lost.push(id)
    }
    for (const name of there) this.#trash.take(path.join(this.#root, name))
    await this.#database.write(
      lost.map(id => ({ kind, id, value: undefined })),
      { durable: false },
    )
  }

  /** The folder, for as long as it is not disposed of. Errors: the signal's reason, those of filling. */
  async take(wanted: WantedCache, signal: AbortSignal): Promise<HeldCache> {
    for (;;) {
      signal.throwIfAborted()
      const found = this.#suitable(wanted)
      if (found) return this.#hold(found, wanted)
      const making = this.#making.get(wanted.key)
      if (making !== undefined) await untilSettled(making)
      else if (wanted.sharing === 'locked' && this.#of(wanted.key).length > 0)
        await this.#turn(wanted, signal)
      else return this.#hold(await this.#make(wanted), wanted)
    }
  }

  usage(): CacheMountUsage[] {
    return [...this.#folders.values()].map(folder => ({
      ...folder,
      path: path.join(this.#root, folder.id),
      inUse: !isFree(folder),
    }))
  }

  /** Out of the way when it returns. False where it is in use, or not there. */
  async remove(id: string): Promise<boolean> {
    const folder = this.#folders.get(id)
    if (!folder || !isFree(folder)) return false
    this.#folders.delete(id)
    await this.#database.write([{ kind, id, value: undefined }], { durable: true })
    failpoint('cache-mount.forgotten')
    this.#trash.take(path.join(this.#root, id))
    return true
  }

  #of(key: string): Folder[] {
    return [...this.#folders.values()].filter(folder => folder.key === key)
  }

  #suitable({ key, sharing }: WantedCache): Folder | undefined {
    const all = this.#of(key)
    const together = sharing === 'shared' ? all.find(({ sharedByAll }) => sharedByAll) : undefined
    return together ?? all.find(isFree)
  }

  async #make(wanted: WantedCache): Promise<Folder> {
    const making = Promise.withResolvers<void>()
    this.#making.set(wanted.key, making.promise)
    try {
      return await this.#makeNow(wanted)
    } finally {
      this.#making.delete(wanted.key)
      making.resolve()
    }
  }

  async #makeNow({ key, description, owner, fill }: WantedCache): Promise<Folder> {
    const id = newId()
    const directory = path.join(this.#root, id)
    try {
      await mkdir(directory)
      if (fill) await fill(directory)
      else {
        await chmod(directory, owner.mode)
        await chown(directory, owner.uid, owner.gid)
      }
      failpoint('cache-mount.filled')
      const now = Date.now()
      const stored: Stored = { id, key, description, createdAt: now, lastUsedAt: now, usageCount: 0 }
      await this.#database.write([{ kind, id, value: stored }], { durable: true })
      const folder = { ...stored, users: 0, sharedByAll: false }
      this.#folders.set(id, folder)
      return folder
    } catch (error) {
      this.#trash.take(directory)
      throw error
    }
  }

  #hold(folder: Folder, { sharing }: WantedCache): HeldCache {
    folder.users += 1
    folder.sharedByAll = sharing === 'shared'
    folder.usageCount += 1
    folder.lastUsedAt = Date.now()
    let isOver = false
    return {
      path: path.join(this.#root, folder.id),
      [Symbol.asyncDispose]: async () => {
        if (isOver) return
        isOver = true
        folder.users -= 1
        if (isFree(folder)) folder.sharedByAll = false
        for (const next of this.#waiting.get(folder.key)?.splice(0) ?? []) next()
        await this.#note(folder)
      },
    }
  }

  /** When it was used last. */
  async #note({ users: _users, sharedByAll: _shared, ...stored }: Folder): Promise<void> {
    if (this.#folders.has(stored.id))
      await this.#database.write([{ kind, id: stored.id, value: stored }], { durable: false })
  }

  async #turn({ key }: WantedCache, signal: AbortSignal): Promise<void> {
    const queue = this.#waiting.get(key) ?? []
    this.#waiting.set(key, queue)
    const { promise, resolve } = Promise.withResolvers<void>()
    queue.push(resolve)
    signal.addEventListener('abort', () => resolve(), { once: true })
    await promise
  }
}

const untilSettled = async (work: Promise<unknown>): Promise<void> => {
  await work.catch(() => {})
}
