import { createReadStream } from 'node:fs'
import { mkdir, opendir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { BerthError, badRequest, hasCode, internal, notFound } from '../core/errors.ts'
import { failpoint } from '../core/failpoint.ts'
import { discarded } from '../core/garbage.ts'
import { type Digest, digestHex, digestOf, isDigest } from '../oci/digest.ts'
import { publish, unfinishedName } from './durable.ts'
import { cancelled, Intake, wrongDigest, wrongSize } from './intake.ts'
import { listPartials, openPartial, recoverBlobs } from './partialBlob.ts'
import { Quarantine } from './quarantine.ts'
import type { BlobFollower, BlobInfo, ContentStore, PartialBlob, PartialInfo } from './types.ts'

/** Blobs as files below `<root>/blobs/sha256`, ingests beside them under names that are no digests. */

const BYTES_LIMIT = 4 << 20

const missing = (digest: Digest): Error => notFound(`blob ${digest} is not in the content store`)

type Expected = Partial<BlobInfo>

interface WriteOptions {
  expected?: Expected
  signal?: AbortSignal
  follower?: BlobFollower
}

/** Copies a source into a new file; durable when this settles. */
const ingest = async (
  path: string,
  source: AsyncIterable<Uint8Array>,
  { expected, signal, follower }: WriteOptions,
): Promise<BlobInfo> => {
  await using intake = await Intake.create(path)
  const limit = expected?.size === undefined ? {} : { limit: expected.size }
  await intake.take(source, { ...limit, ...(signal ? { signal } : {}), ...(follower ? { follower } : {}) })
  const info = intake.info()
  if (expected?.size !== undefined && info.size !== expected.size) throw wrongSize(expected.size, info.size)
  if (expected?.digest && expected.digest !== info.digest) throw wrongDigest(expected.digest, info.digest)
  follower?.whole(info.digest)
  failpoint('blob.before-sync')
  await intake.sync()
  return info
}

class FileContentStore implements ContentStore {
  readonly #directory: string
  readonly quarantine: Quarantine
  /** Those that are open. */
  readonly #partials = new Set<Digest>()

  constructor(root: string) {
    this.#directory = join(root, 'blobs', 'sha256')
    this.quarantine = new Quarantine(root)
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

  async partial({ digest, size }: BlobInfo): Promise<PartialBlob> {
    if (this.#partials.has(digest)) throw internal(`blob ${digest} is being fetched already`)
    this.#partials.add(digest)
    try {
      const path = this.path(digest)
      const found = (): Promise<BlobInfo | undefined> => this.info(digest)
      return await openPartial({ path, digest, size, found, closed: () => this.#partials.delete(digest) })
    } catch (error) {
      this.#partials.delete(digest)
      throw error
    }
  }

  partials(): AsyncIterable<PartialInfo> {
    return listPartials(this.#directory)
  }

  async dropPartials(): Promise<number> {
    let freed = 0
    for await (const { digest, size, path } of this.partials()) {
      if (this.#partials.has(digest)) continue
      await rm(path, { force: true })
      freed += size
    }
    return freed
  }

  async recover(): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 })
    await recoverBlobs(this.#directory)
    this.quarantine.recover()
  }

  async *#read(digest: Digest, { start, end }: { start: number; end?: number }): AsyncGenerator<Buffer> {
    try {
      // An empty range ends before it starts, which a read stream refuses.
      if (end !== undefined && end < start) return
      const file = createReadStream(this.path(digest), {
        start,
        ...(end === undefined ? {} : { end }),
        highWaterMark: 1 << 18,
      })
      for await (const chunk of file) {
        yield chunk
        discarded(chunk.length)
      }
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
export const openContentStore = (root: string): ContentStore => new FileContentStore(root)
