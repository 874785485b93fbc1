import { messageOf } from '../../../core/errors.ts'
import type { Log } from '../../../core/log.ts'
import type { Digest } from '../../../oci/digest.ts'
import type { Database } from '../../../store/database.ts'
import type { ImageRecord } from '../types.ts'

/**
 * When containers last used each image. In memory it is exact; on disk it is
 * right to the minute, so that a start waits for nothing and seldom writes.
 */

const kind = 'image-use'
/** Milliseconds. */
const grain = 60_000

interface Note {
  /** Milliseconds since the epoch. */
  at: number
}

export class LastUse {
  readonly #database: Database
  readonly #log: Log
  readonly #notes: Map<string, Note>
  /** What is on disk. */
  readonly #written: Map<string, number>

  private constructor(database: Database, log: Log, notes: Map<string, Note>) {
    this.#database = database
    this.#log = log
    this.#notes = notes
    this.#written = new Map([...notes].map(([id, { at }]) => [id, at]))
  }

  static async open(database: Database, log: Log): Promise<LastUse> {
    const notes = (await database.load(kind)).map(({ id, value }) => [id, value as Note] as const)
    return new LastUse(database, log, new Map(notes))
  }

  /** Never waits, and never fails. */
  note(id: Digest): void {
    const now = Date.now()
    this.#notes.set(id, { at: now })
    if (now - (this.#written.get(id) ?? 0) < grain) return
    this.#written.set(id, now)
    this.#write(id, { at: now })
  }

  /**
   * Milliseconds since the epoch: used by a container, pulled, loaded or tagged.
   * One of which nothing is known counts as used now, and from now on.
   */
  of({ id, lastTagged }: ImageRecord): number {
    const tagged = Date.parse(lastTagged)
    const used = Math.max(this.#notes.get(id)?.at ?? 0, Number.isNaN(tagged) ? 0 : tagged)
    if (used > 0) return used
    this.note(id)
    return this.#notes.get(id)?.at ?? 0
  }

  /** Of an image that is gone. */
  forget(id: string): void {
    if (!this.#notes.delete(id)) return
    this.#written.delete(id)
    this.#write(id, undefined)
  }

  /** At a start: forgets all but these. */
  keepOnly(ids: ReadonlySet<string>): void {
    for (const id of this.#notes.keys()) if (!ids.has(id)) this.forget(id)
  }

  #write(id: string, value: Note | undefined): void {
    void this.#database.write([{ kind, id, value }], { durable: false }).catch(error => {
      this.#log.warn('the last use of an image could not be noted', { image: id, error: messageOf(error) })
    })
  }
}
