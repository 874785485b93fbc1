import type { Descriptor } from '../oci/image.ts'
import type { Ask, Endpoint } from './endpoint.ts'
import { failure, troubleOf } from './failures.ts'
import { parseContentRange, single } from './headers.ts'
import { pauseAfter, pauseFor, type RetryOptions } from './retry.ts'
import { avoidUnreachable, candidates, noHost } from './rounds.ts'
import type { Answer } from './transport.ts'
import type { TransferFollower } from './types.ts'

/** The bytes of a blob, in one piece for whoever reads them, whatever happens to connections and hosts. */

export interface BlobSource {
  endpoint: Endpoint
  target: string | URL
}

export interface BlobRead extends Omit<RetryOptions, 'follow'> {
  descriptor: Descriptor
  offset: number
  sources: readonly BlobSource[]
  ask: Pick<Ask, 'scopes' | 'subject'>
  follower: TransferFollower | undefined
}

/** So many new bytes make an attempt a success, so that attempts are counted anew. */
const progress = 1024

/** What is known of a source while one blob is read. */
interface Record {
  /** It answers a range with something else: it is asked for the whole. */
  wholeOnly: boolean
  /** It has the blob. */
  served: boolean
}

const wrong = (read: BlobRead, endpoint: Endpoint, why: string, transient: boolean): Error =>
  failure('registry-failed', 500, `${endpoint.host.base}: blob ${read.descriptor.digest}: ${why}`, {
    transient,
    spoke: true,
  })

/** Where the answer's bytes begin in the blob. Throws where it is not this blob's. */
const beginning = (read: BlobRead, source: BlobSource, position: number, answer: Answer): number => {
  const { size } = read.descriptor
  const length = single(answer.headers['content-length'])
  if (answer.status === 206) {
    const range = parseContentRange(single(answer.headers['content-range']))
    if (range?.total !== undefined && range.total !== size)
      throw wrong(read, source.endpoint, `it has ${range.total} bytes there, and not ${size}`, false)
    const lies = range && length !== undefined && Number(length) !== range.last - range.first + 1
    if (!range || lies || range.first > position)
      throw wrong(read, source.endpoint, 'the answer to a range is another range', true)
    return range.first
  }
  if (length !== undefined && Number(length) !== size)
    throw wrong(read, source.endpoint, `it has ${length} bytes there, and not ${size}`, false)
  return 0
}

const open = async (
  read: BlobRead,
  source: BlobSource,
  position: number,
  record: Record,
): Promise<Answer> => {
  const ranged = position > 0 && !record.wholeOnly
  const ask: Ask = {
    ...read.ask,
    method: 'GET',
    target: source.target,
    headers: ranged ? { range: `bytes=${position}-` } : {},
    signal: read.signal,
  }
  const answer = await source.endpoint.ask(ask)
  if (answer.status === 200 || answer.status === 206) return answer
  if (answer.status !== 416) throw await source.endpoint.refuse(ask, answer)
  await answer.body.discard()
  record.wholeOnly = true
  throw wrong(read, source.endpoint, 'what was asked of it was refused (416)', true)
}

async function* readFrom(
  read: BlobRead,
  source: BlobSource,
  position: number,
  record: Record,
): AsyncGenerator<Buffer> {
  const answer = await open(read, source, position, record)
  let at: number
  try {
    at = beginning(read, source, position, answer)
  } catch (error) {
    answer.body.cancel()
    record.wholeOnly = true
    throw error
  }
  record.served = true
  let wanted = position
  for await (const chunk of answer.body) {
    const repeated = Math.min(Math.max(wanted - at, 0), chunk.length)
    if (repeated > 0) read.follower?.repeated?.(repeated)
    at += chunk.length
    if (at > read.descriptor.size)
      throw wrong(read, source.endpoint, `more than its ${read.descriptor.size} bytes came`, false)
    if (repeated === chunk.length) continue
    wanted = at
    yield repeated === 0 ? chunk : chunk.subarray(repeated)
  }
  if (wanted < read.descriptor.size)
    throw wrong(read, source.endpoint, `it ended after ${wanted} of ${read.descriptor.size} bytes`, true)
}

const inTurn = (read: BlobRead): BlobSource[] => {
  const asked = candidates(
    read.sources.map(source => source.endpoint),
    performance.now(),
  )
  return read.sources.filter(source => asked.includes(source.endpoint))
}

/** One pass over the sources from `from.position` on, which it moves; true where the blob is complete. */
async function* pass(
  read: BlobRead,
  from: { position: number },
  records: Map<BlobSource, Record>,
): AsyncGenerator<Buffer, { error: unknown; again: boolean } | undefined> {
  let error: unknown = noHost()
  let again = false
  for (const source of inTurn(read)) {
    if (!inTurn(read).includes(source)) continue
    const record = records.get(source) ?? { wholeOnly: false, served: false }
    records.set(source, record)
    const before = from.position
    try {
      for await (const chunk of readFrom(read, source, before, record)) {
        from.position += chunk.length
        yield chunk
      }
      return undefined
    } catch (thrown) {
      if (read.signal.aborted) throw read.signal.reason
      const { transient } = troubleOf(thrown)
      if (from.position === read.descriptor.size) {
        // What failed came after the last byte; more bytes than there are is another matter.
        if (transient) return undefined
        throw thrown
      }
      error = thrown
      avoidUnreachable(source.endpoint, thrown)
      again ||= transient && record.served
      // It has begun well: the rest is asked of it first.
      if (from.position - before >= progress && transient) break
    }
  }
  return { error, again: again || troubleOf(error).transient }
}

/** Errors: as a registry refuses, `registry-unreachable`, `registry-failed` where no host gives all bytes. */
export async function* readBlob(read: BlobRead): AsyncGenerator<Buffer> {
  const from = { position: read.offset }
  const records = new Map<BlobSource, Record>()
  let failed = 0
  while (from.position < read.descriptor.size) {
    const before = from.position
    const missed = yield* pass(read, from, records)
    if (!missed) return
    failed = from.position - before >= progress ? 1 : failed + 1
    if (!missed.again || failed >= Math.max(read.attempts, 1)) throw missed.error
    const pause = pauseAfter(failed, read.timings, troubleOf(missed.error).after)
    const why = missed.error instanceof Error ? missed.error.message : String(missed.error)
    read.follower?.retry?.(why, from.position, pause)
    await pauseFor(pause, read.signal)
  }
}
