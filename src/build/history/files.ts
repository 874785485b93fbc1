import { mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { formatNanos, parseTime } from '../../core/clock.ts'
import { hasCode, unlessCode } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { type Digest, digestHex, digestOf } from '../../oci/digest.ts'
import { UNFINISHED, unfinishedName } from '../../store/durable.ts'
import { partOf } from './frames.ts'
import { interruptedRecord } from './interrupted.ts'
import type { BuildRecord, OpenRecord, RecordedBlob } from './types.ts'

/**
 * Records on disk, each with a *stem*: `STEM.json` is a record, `STEM.log` its log where that is no part of it,
 * `STEM.open` a build that was under way when it was written. The record is renamed into place before `STEM.open` goes.
 */

/** What is known of a record without reading it. */
export interface RecordEntry {
  stem: string
  ref: string
  createdAt: bigint
  /** Milliseconds since the epoch, with a fraction. */
  completedAt: number
  pinned: boolean
  /** On disk. */
  bytes: number
  blobs: Digest[]
}

const block = 4096
const onDisk = (size: number): number => Math.ceil(size / block) * block

/** Builds of one ref, one after another, have stems of their own. */
export const stemOf = (ref: string, createdAt: bigint): string =>
  `${digestHex(digestOf(ref)).slice(0, 16)}-${createdAt}`

const blobsOf = ({ log, error }: BuildRecord): RecordedBlob[] => [
  log,
  ...(error?.details ? [error.details] : []),
]

const entryOf = (stem: string, record: BuildRecord, size: number): RecordEntry => ({
  stem,
  ref: record.ref,
  createdAt: parseTime(record.createdAt) ?? 0n,
  completedAt: Number(parseTime(record.completedAt) ?? 0n) / 1e6,
  pinned: record.pinned,
  bytes: onDisk(size) + (record.log.bytes === undefined ? onDisk(record.log.size) : 0),
  blobs: blobsOf(record).map(({ digest }) => digest),
})

export class RecordFiles {
  readonly #root: string

  constructor(root: string) {
    this.#root = root
  }

  #path(stem: string, kind: 'json' | 'log' | 'open'): string {
    return path.join(this.#root, `${stem}.${kind}`)
  }

  logPath(stem: string): string {
    return this.#path(stem, 'log')
  }

  async #write(name: string, value: object): Promise<number> {
    const text = JSON.stringify(value)
    const unfinished = path.join(this.#root, unfinishedName())
    try {
      await writeFile(unfinished, text, { flag: 'wx', mode: 0o600 })
      await rename(unfinished, name)
    } catch (error) {
      await rm(unfinished, { force: true })
      throw error
    }
    return Buffer.byteLength(text)
  }

  /** A build is under way. */
  async note(stem: string, record: OpenRecord): Promise<void> {
    await this.#write(this.#path(stem, 'open'), record)
    failpoint('build-history.noted')
  }

  async keep(stem: string, record: BuildRecord): Promise<RecordEntry> {
    const size = await this.#write(this.#path(stem, 'json'), record)
    failpoint('build-history.kept')
    await rm(this.#path(stem, 'open'), { force: true })
    return entryOf(stem, record, size)
  }

  /** Undefined where it is not there any more, or is none: after a power cut a file can be empty. */
  async read(stem: string): Promise<BuildRecord | undefined> {
    return (await this.#document<BuildRecord>(this.#path(stem, 'json')))?.value
  }

  async #document<T>(file: string): Promise<{ value: T; size: number } | undefined> {
    try {
      const bytes = await readFile(file)
      return { value: JSON.parse(bytes.toString('utf8')) as T, size: bytes.length }
    } catch (error) {
      if (hasCode(error, 'ENOENT') || error instanceof SyntaxError) return undefined
      throw error
    }
  }

  async remove(stem: string): Promise<void> {
    await rm(this.#path(stem, 'json'), { force: true })
    failpoint('build-history.removed')
    await rm(this.#path(stem, 'log'), { force: true })
    await rm(this.#path(stem, 'open'), { force: true })
  }

  /** Of a blob of a record. */
  async *bytes(
    stem: string,
    blob: RecordedBlob,
    { start = 0, size = blob.size - start }: { start?: number; size?: number } = {},
  ): AsyncGenerator<Buffer> {
    if (blob.bytes !== undefined) {
      yield Buffer.from(blob.bytes, 'base64').subarray(start, start + size)
      return
    }
    await using file = await open(this.#path(stem, 'log'), 'r')
    yield* partOf(file, { start, size: Math.min(size, blob.size - start) })
  }

  async blob(stem: string, digest: Digest): Promise<RecordedBlob | undefined> {
    const record = await this.read(stem)
    return record && blobsOf(record).find(blob => blob.digest === digest)
  }

  /** All records. Builds that died with an earlier daemon become records, what else it left half done is removed. */
  async recover(onError: (error: unknown) => void): Promise<RecordEntry[]> {
    await mkdir(this.#root, { recursive: true, mode: 0o700 })
    const names = new Set(await readdir(this.#root))
    for (const name of names)
      if (name.startsWith(UNFINISHED)) await rm(path.join(this.#root, name), { force: true })
    const stems = new Set([...names].flatMap(name => /^(\w+-\d+)\.(?:json|log|open)$/.exec(name)?.[1] ?? []))
    const entries: RecordEntry[] = []
    for (const stem of stems) {
      const entry = await this.#recoverOne(stem).catch(onError)
      if (entry) entries.push(entry)
    }
    return entries
  }

  async #recoverOne(stem: string): Promise<RecordEntry | undefined> {
    const kept = await this.#document<BuildRecord>(this.#path(stem, 'json'))
    if (kept) {
      await rm(this.#path(stem, 'open'), { force: true })
      return entryOf(stem, kept.value, kept.size)
    }
    const noted = await this.#document<OpenRecord>(this.#path(stem, 'open'))
    if (noted) return await this.keep(stem, await this.#interrupted(stem, noted.value))
    await this.remove(stem)
    return undefined
  }

  async #interrupted(stem: string, noted: OpenRecord): Promise<BuildRecord> {
    await using file = await unlessCode(open(this.#path(stem, 'log'), 'r'), 'ENOENT')
    if (!file) return await interruptedRecord(noted, { at: noted.createdAt, log: [] })
    const { mtimeMs, size } = await file.stat()
    return await interruptedRecord(noted, {
      at: formatNanos(BigInt(Math.round(mtimeMs)) * 1_000_000n),
      log: partOf(file, { start: 0, size }),
    })
  }
}
