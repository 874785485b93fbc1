import { RecentlyUsed } from '../../../core/recentlyUsed.ts'
import { digestHex, digestOf } from '../../../oci/digest.ts'
import type { Database } from '../../../store/database.ts'
import type { HttpOperation, HttpRecord } from './http.ts'

/** What downloads came to, from one build to the next: servers tell by an ETag that it is still so. */

const kind = 'build-download'
const mostRecords = 1000

interface Stored {
  record: HttpRecord
  /** Milliseconds since the epoch. */
  at: number
}

/** Of a download with a name of its own the file is called otherwise. */
const idOf = ({ url, filename }: HttpOperation): string =>
  digestHex(digestOf(JSON.stringify([url, filename])))

export class DownloadRecords {
  readonly #database: Pick<Database, 'write'>
  readonly #known: RecentlyUsed<HttpRecord>

  private constructor(database: Pick<Database, 'write'>, known: RecentlyUsed<HttpRecord>) {
    this.#database = database
    this.#known = known
  }

  /** Forgets the oldest where there are too many. */
  static async open(database: Pick<Database, 'load' | 'write'>): Promise<DownloadRecords> {
    const all = (await database.load(kind)).map(({ id, value }) => ({ id, ...(value as Stored) }))
    const known = new RecentlyUsed<HttpRecord>(mostRecords)
    all.sort((a, b) => a.at - b.at)
    const old = all.splice(0, Math.max(0, all.length - mostRecords))
    for (const { id, record } of all) known.set(id, record)
    await database.write(
      old.map(({ id }) => ({ kind, id, value: undefined })),
      { durable: false },
    )
    return new DownloadRecords(database, known)
  }

  find(operation: HttpOperation): HttpRecord | undefined {
    return this.#known.get(idOf(operation))
  }

  /** Without an ETag nothing tells that it is still so. */
  async note(operation: HttpOperation, record: HttpRecord): Promise<void> {
    if (record.etag === undefined || this.find(operation) === record) return
    const id = idOf(operation)
    this.#known.set(id, record)
    const value: Stored = { record, at: Date.now() }
    await this.#database.write([{ kind, id, value }], { durable: false })
  }
}
