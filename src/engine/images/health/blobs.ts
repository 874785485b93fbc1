import { isDiskError } from '../../../archive/diskErrors.ts'
import { nowText } from '../../../core/clock.ts'
import { hasCode, messageOf } from '../../../core/errors.ts'
import type { Digest } from '../../../oci/digest.ts'
import { type FileStamp, fileStamp } from '../../../store/quarantine.ts'
import type { Engine } from '../../engine.ts'
import { type BlobNeed, blobNeeds, containersOf, namesOf } from './census.ts'
import { fetchBlob } from './fetchBlob.ts'
import type { CheckRequest, Finding, Mending } from './types.ts'

/** Blobs against their names, and against what records tell of them. */

/** What was seen of one blob. `why` goes on from "its file". */
type Seen =
  | { state: 'whole'; size: number }
  | { state: 'damaged'; size: number; why: string; stamp: FileStamp }
  /** Nobody needs it, and it is not there any more. */
  | { state: 'gone' }
  | { state: 'missing' }

/** How a file that is there differs from its digest; undefined where it does not. */
const readThrough = async (
  engine: Engine,
  digest: Digest,
  { operation, progress }: CheckRequest,
): Promise<string | undefined> => {
  const path = engine.content.path(digest)
  const total = (await engine.content.info(digest))?.size ?? 0
  try {
    const found = await engine.pool.run(
      'fileDigest',
      { path },
      {
        signal: operation.signal,
        onProgress: current => progress({ status: 'Checking blob', id: digest.slice(7, 19), current, total }),
      },
    )
    return found.digest === digest ? undefined : `has the content of ${found.digest}`
  } catch (error) {
    operation.signal.throwIfAborted()
    // A disk's own failure is a damage like any other.
    if (isDiskError(error)) return 'cannot be read: the disk gives an error'
    throw error
  }
}

const look = async (
  engine: Engine,
  { digest, size }: Pick<BlobNeed, 'digest' | 'size'>,
  request: CheckRequest,
): Promise<Seen> => {
  for (;;) {
    const stamp = fileStamp(engine.content.path(digest))
    if (!stamp) return { state: blobNeeds(engine).has(digest) ? 'missing' : 'gone' }
    const there = Number(stamp.size)
    if (size !== undefined && there !== size)
      return { state: 'damaged', size: there, why: `has ${there} bytes in place of ${size}`, stamp }
    if (request.depth === 'quick') return { state: 'whole', size: there }
    try {
      const why = await readThrough(engine, digest, request)
      if (why === undefined) return { state: 'whole', size: there }
      // Only what stayed the same while it was read is known to be wrong.
      const after = fileStamp(engine.content.path(digest))
      if (after?.inode === stamp.inode && after.changed === stamp.changed)
        return { state: 'damaged', size: there, why, stamp }
    } catch (error) {
      if (!hasCode(error, 'not-found')) throw error
    }
  }
}

/** Where no repair brought it back: what does. */
const comingBack = (names: readonly string[]): string =>
  names.length > 0 ? `the next pull or load of ${names.join(', ')} brings it again` : 'nothing needs it'

const mendMissing = async (
  engine: Engine,
  need: BlobNeed,
  request: CheckRequest,
): Promise<Mending | undefined> => {
  if (request.repair !== 'fetch') return undefined
  const fetched = await fetchBlob(engine, need, request)
  if ('from' in fetched) return { result: 'repaired', text: `it was fetched again from ${fetched.from}` }
  const back = comingBack(namesOf(engine, need.images))
  return { result: 'failed', text: `it cannot be had again (${fetched.why}); ${back}` }
}

/** Out of the way first: what is there by its name is taken for the blob by every pull and load. */
const mendDamaged = async (
  engine: Engine,
  { need, why, stamp }: { need: BlobNeed; why: string; stamp: FileStamp },
  request: CheckRequest,
): Promise<Mending | undefined> => {
  if (request.repair === 'none') return undefined
  const images = namesOf(engine, need.images)
  const { quarantine } = engine.content
  const note = { digest: need.digest, at: nowText(), why: `its file ${why}`, images }
  const name = await quarantine.take(engine.content.path(need.digest), note, stamp)
  if (name === undefined) return { result: 'failed', text: 'it was written anew meanwhile: check again' }
  const mending = need.images.length > 0 ? await mendMissing(engine, need, request) : undefined
  if (mending?.result === 'repaired') {
    await quarantine.drop(name)
    return { ...mending, text: `${mending.text}, and the damaged file was removed` }
  }
  const rest = mending?.text ?? comingBack(images)
  return { result: 'quarantined', text: `it was moved to quarantine/${name}; ${rest}` }
}

const mend = async (
  engine: Engine,
  { need, seen }: { need: BlobNeed; seen: Seen },
  request: CheckRequest,
): Promise<Mending | undefined> => {
  using _held = engine.fetches.hold(need.digest)
  try {
    if (seen.state === 'damaged') return await mendDamaged(engine, { need, ...seen }, request)
    return await mendMissing(engine, need, request)
  } catch (error) {
    request.operation.signal.throwIfAborted()
    return { result: 'failed', text: messageOf(error) }
  }
}

export interface BlobsChecked {
  count: number
  bytes: number
  /** Those that are not whole, after what was mended. */
  bad: Set<Digest>
}

const checkBlob = async (
  engine: Engine,
  need: BlobNeed,
  { request, checked }: { request: CheckRequest; checked: BlobsChecked },
): Promise<void> => {
  const seen = await look(engine, need, request)
  if (seen.state === 'gone') return
  checked.count++
  if (seen.state !== 'missing') checked.bytes += seen.size
  if (seen.state === 'whole') return
  const mending = await mend(engine, { need, seen }, request)
  if (mending?.result !== 'repaired') checked.bad.add(need.digest)
  const finding: Finding = {
    kind: seen.state === 'missing' ? 'blob-missing' : 'blob-damaged',
    id: need.digest,
    text:
      seen.state === 'missing'
        ? `the blob ${need.digest} is missing`
        : `the blob ${need.digest} is damaged: its file ${seen.why}`,
    images: namesOf(engine, need.images),
    containers: containersOf(engine, need.images),
    ...(mending ? { mending } : {}),
  }
  request.found(finding)
}

/** Every blob, one after another: those that images need, then the others. */
export const checkBlobs = async (engine: Engine, request: CheckRequest): Promise<BlobsChecked> => {
  const checked: BlobsChecked = { count: 0, bytes: 0, bad: new Set() }
  const needs = blobNeeds(engine)
  const others: Digest[] = []
  for await (const { digest } of engine.content.list()) if (!needs.has(digest)) others.push(digest)
  const all = [
    ...needs.values(),
    ...others.map(digest => ({ digest, size: undefined, images: [], isDocument: false })),
  ]
  for (const [index, need] of all.entries()) {
    request.operation.at(`checking blob ${index + 1} of ${all.length}`)
    await checkBlob(engine, need, { request, checked })
  }
  return checked
}
