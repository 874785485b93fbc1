import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, opendir, readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { untilAborted } from '../core/abort.ts'
import { BerthError, badRequest, hasCode, notFound } from '../core/errors.ts'
import { failpoint } from '../core/failpoint.ts'
import { startWriting } from '../linux/files.ts'
import { type Digest, digestHex, digestOf, isDigest } from '../oci/digest.ts'
import { publish, syncDirectory, UNFINISHED, unfinishedName, writeVector } from './durable.ts'
import type { BlobFollower, BlobInfo, ContentStore } from './types.ts'

/** Blobs as files below `<root>/blobs/sha256`, ingests beside them under names that are no digests. */

const BYTES_LIMIT = 4 << 20

const missing = (digest: Digest): Error => notFound(`blob ${digest} is not in the content store`)

const wrongDigest = (expected: Digest, found: Digest): Error =>
  new BerthError('digest-mismatch', 400, `the content has the digest ${found}, expected was ${expected}`)

const wrongSize = (expected: number, found: number | string): Error =>
  new BerthError('size-mismatch', 400, `the content has ${found} bytes, expected were ${expected}`)

type Expected = Partial<BlobInfo>

interface WriteOptions {
  expected?: Expected
  signal?: AbortSignal
  follower?: BlobFollower
}

const batchBytes = 1 << 20
/** As much is handed to the disk at a time while more is to come. */
const writebackBytes = 8 << 20
/** A chunk may be a small piece of a large buffer that it keeps alive. */
const batchChunks = 64

/** Copies a source into a file, hashing; stops as soon as more comes than was expected. A batch is written while the next is hashed. */
const ingest = async (
  path: string,
  source: AsyncIterable<Uint8Array>,
  { expected, signal, follower }: WriteOptions,
): Promise<BlobInfo> => {
  const hash = createHash('sha256')
  let size = 0
  let batch: Uint8Array[] = []
  let held = 0
  let writing: Promise<void> = Promise.resolve()
  let written = 0
  let begun = 0
  let handing: Promise<void> | undefined
  await using file = await open(path, 'wx', 0o600)
  // Whatever happens, the file is not closed under it.
  await using _handed = { [Symbol.asyncDispose]: async () => handing }
  // One at a time, and nobody waits for it but the end: where the disk is busy it takes long.
  const handOver = (): void => {
    if (handing || written - begun < writebackBytes) return
    handing = startWriting(file.fd, begun, written - begun).finally(() => {
      handing = undefined
    })
    begun = written
  }
  const flush = async (): Promise<void> => {
    await writing
    follower?.grown(path, written)
    handOver()
    written += held
    writing = writeVector(file, batch)
    // It is awaited by the next flush; until then its failure is nobody's.
    writing.catch(() => {})
    batch = []
    held = 0
  }
  for await (const chunk of signal ? untilAborted(signal, source) : source) {
    size += chunk.length
    if (expected?.size !== undefined && size > expected.size) throw wrongSize(expected.size, 'more')
    hash.update(chunk)
    held += chunk.length
    if (batch.push(chunk) >= batchChunks || held >= batchBytes) await flush()
  }
  if (expected?.size !== undefined && size !== expected.size) throw wrongSize(expected.size, size)
  const digest: Digest = `sha256:${hash.digest('hex')}`
  if (expected?.digest && expected.digest !== digest) throw wrongDigest(expected.digest, digest)
  await flush()
  await writing
  follower?.grown(path, size)
  follower?.whole(digest)
  failpoint('blob.before-sync')
  await file.sync()
  return { digest, size }
}

const cancelled = (signal: AbortSignal | undefined, error: unknown): unknown =>
  signal?.aborted && !(error instanceof BerthError)
    ? new BerthError('cancelled', 499, 'the write was cancelled', { cause: error })
    : error

class FileContentStore implements ContentStore {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  path(digest: Digest): string {
    if (!isDigest(digest)) throw badRequest(`invalid digest ${JSON.stringify(digest)}`)
    return join(this.#directory, digestHex(digest))
  }

  async info(digest: Digest): Promise<BlobInfo | undefined> {
    try {
      return { digest, size: (await stat(this.path(digest))).size }
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined
      throw error
    }
  }

  open(digest: Digest, range: { start: number; end?: number } = { start: 0 }): Readable {
    return Readable.from(this.#read(digest, range), { objectMode: false })
  }

  async bytes(digest: Digest, limit = BYTES_LIMIT): Promise<Buffer> {
    const info = await this.info(digest)
    if (!info) throw missing(digest)
    if (info.size > limit)
      throw new BerthError(
        'too-large',
        400,
        `blob ${digest} has ${info.size} bytes, at most ${limit} are read whole`,
      )
    return await readFile(this.path(digest))
  }

  async put(bytes: Uint8Array): Promise<BlobInfo> {
    const digest = digestOf(bytes)
    const there = await this.info(digest)
    if (there?.size === bytes.length) return there
    return await this.write([bytes], { expected: { digest, size: bytes.length } })
  }

  async write(
    source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options: WriteOptions = {},
  ): Promise<BlobInfo> {
    const temporary = join(this.#directory, unfinishedName())
    try {
      const info = await ingest(temporary, toAsync(source), options)
      await publish(temporary, this.path(info.digest), 'blob')
      return info
    } catch (error) {
      await rm(temporary, { force: true })
      throw cancelled(options.signal, error)
    }
  }

  async remove(digest: Digest): Promise<void> {
    await rm(this.path(digest), { force: true })
    failpoint('blob.removed')
  }

  async *list(): AsyncGenerator<BlobInfo> {
    for await (const entry of await opendir(this.#directory)) {
      const digest = `sha256:${entry.name}`
      const info = isDigest(digest) ? await this.info(digest) : undefined
      if (info) yield info
    }
  }

  async recover(): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 })
    for (const name of await readdir(this.#directory))
      if (name.startsWith(UNFINISHED)) await rm(join(this.#directory, name), { force: true })
    await syncDirectory(this.#directory)
  }

  async *#read(digest: Digest, { start, end }: { start: number; end?: number }): AsyncGenerator<Buffer> {
    try {
      // An empty range ends before it starts, which a read stream refuses.
      if (end !== undefined && end < start) return
      yield* createReadStream(this.path(digest), {
        start,
        ...(end === undefined ? {} : { end }),
        highWaterMark: 1 << 18,
      })
    } catch (error) {
      throw hasCode(error, 'ENOENT') ? missing(digest) : error
    }
  }
}

async function* toAsync(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield* source
}

/** The content store of a data root. Call `recover` once before anything else. */
export const openContentStore = (root: string): ContentStore =>
  new FileContentStore(join(root, 'blobs', 'sha256'))
