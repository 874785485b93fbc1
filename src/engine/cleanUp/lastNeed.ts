import { messageOf } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Database } from '../../store/database.ts'
import type { CleanedType } from './types.ts'

/**
 * When volumes and networks were last needed: their last container was
 * removed. Written behind the removal, which waits for nothing.
 */

const kind = 'last-need'

interface Note {
  /** Milliseconds since the epoch. */
  at: number
}

const keyOf = (type: CleanedType, id: string): string => `${type} ${id}`

export class LastNeed {
  readonly #database: Database
  readonly #log: Log
  readonly #notes: Map<string, Note>

  private constructor(database: Database, log: Log, notes: Map<string, Note>) {
    this.#database = database
    this.#log = log
    this.#notes = notes
  }

  static async open(database: Database, log: Log): Promise<LastNeed> {
    const stored = await database.load(kind)
    return new LastNeed(database, log, new Map(stored.map(({ id, value }) => [id, value as Note])))
  }

  /** Never waits, and never fails. */
  note(type: CleanedType, ids: readonly string[]): void {
    const note: Note = { at: Date.now() }
    for (const id of ids) this.#notes.set(keyOf(type, id), note)
    this.#write(ids.map(id => ({ id: keyOf(type, id), value: note })))
  }

  /** Milliseconds since the epoch; undefined where nobody ever needed it. */
  of(type: CleanedType, id: string): number | undefined {
    return this.#notes.get(keyOf(type, id))?.at
  }

  /** Forgets all but these of a kind. */
  keepOnly(type: CleanedType, ids: ReadonlySet<string>): void {
    const gone = [...this.#notes.keys()].filter(
      key => key.startsWith(`${type} `) && !ids.has(key.slice(type.length + 1)),
    )
    for (const key of gone) this.#notes.delete(key)
    this.#write(gone.map(id => ({ id, value: undefined })))
  }

  #write(notes: { id: string; value: Note | undefined }[]): void {
    if (notes.length === 0) return
    void this.#database
      .write(
        notes.map(note => ({ kind, ...note })),
        { durable: false },
      )
      .catch(error => {
        this.#log.warn('the last need of volumes or networks could not be noted', { error: messageOf(error) })
      })
  }
}
