import { nowText } from '../../core/clock.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Database } from '../../store/database.ts'
import type { ContentStore } from '../../store/types.ts'

/**
 * Notes of blobs that a pull fetched and no image names yet: where the pull
 * fails or dies, the next one finds them. Without a note, a start would remove
 * them as what a load left behind.
 */

const kind = 'fetched'
const keptMs = 7 * 24 * 3600 * 1000

interface Note {
  /** RFC 3339. */
  at: string
}

/** Before the blob gets its name. */
export const noteFetched = async (database: Database, digest: Digest): Promise<void> => {
  const note: Note = { at: nowText() }
  await database.write([{ kind, id: digest, value: note }], { durable: false })
}

/** An image names them now, or they are gone. */
export const forgetFetched = async (database: Database, digests: readonly Digest[]): Promise<void> => {
  if (digests.length === 0) return
  await database.write(
    digests.map(digest => ({ kind, id: digest, value: undefined })),
    { durable: false },
  )
}

const isFresh = ({ at }: Note): boolean => Date.now() - Date.parse(at) < keptMs

/** Blobs that are kept for the next pull; notes of others are forgotten. `used` are those that images name. */
export const keptFetched = async (
  { database, content }: { database: Database; content: ContentStore },
  used: ReadonlySet<Digest>,
): Promise<Set<Digest>> => {
  const kept = new Set<Digest>()
  const over: Digest[] = []
  for (const { id, value } of await database.load(kind)) {
    const digest = id as Digest
    const isKept = isFresh(value as Note) && !used.has(digest) && (await content.info(digest)) !== undefined
    if (isKept) kept.add(digest)
    else over.push(digest)
  }
  await forgetFetched(database, over)
  return kept
}
