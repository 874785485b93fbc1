import { opendir, readdir, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { hasCode } from '../core/errors.ts'
import { failpoint } from '../core/failpoint.ts'
import { type Digest, digestHex, isDigest } from '../oci/digest.ts'
import { publish, syncDirectory, UNFINISHED } from './durable.ts'
import { cancelled, Intake, wrongDigest, wrongSize } from './intake.ts'
import type { BlobFollower, BlobInfo, PartialBlob, PartialInfo } from './types.ts'

/** Blobs that come in parts: files beside the blobs, under names that are no digests. */

const PARTIAL = '.partial-'
const KEPT_MS = 7 * 24 * 3600 * 1000

interface Opening extends BlobInfo {
  /** Of the blob. */
  path: string
  /** The blob, where somebody else finished it meanwhile. */
  found(): Promise<BlobInfo | undefined>
  closed(): void
}

class FilePartial implements PartialBlob {
  readonly #opening: Opening
  readonly #path: string
  readonly #intake: Intake
  #follower: BlobFollower | undefined

  constructor(opening: Opening, path: string, intake: Intake) {
    this.#opening = opening
    this.#path = path
    this.#intake = intake
  }

  get offset(): number {
    return this.#intake.size
  }

  async append(
    source: AsyncIterable<Uint8Array>,
    options: { signal?: AbortSignal; follower?: BlobFollower } = {},
  ): Promise<void> {
    this.#follower = options.follower
    try {
      await this.#intake.take(source, { ...options, limit: this.#opening.size })
    } catch (error) {
      throw cancelled(options.signal, error)
    }
    failpoint('partial.appended')
  }

  async finish(): Promise<BlobInfo> {
    const { digest, size, path, found } = this.#opening
    if (this.offset !== size) throw wrongSize(size, this.offset)
    const info = this.#intake.info()
    if (info.digest !== digest) {
      await rm(this.#path, { force: true })
      throw wrongDigest(digest, info.digest)
    }
    this.#follower?.whole(digest)
    if (await found()) {
      await rm(this.#path, { force: true })
      return info
    }
    failpoint('blob.before-sync')
    await this.#intake.sync()
    await publish(this.#path, path, 'blob')
    return info
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#intake[Symbol.asyncDispose]()
    this.#opening.closed()
  }
}

export const openPartial = async (opening: Opening): Promise<PartialBlob> => {
  const path = join(dirname(opening.path), `${PARTIAL}${digestHex(opening.digest)}`)
  return new FilePartial(opening, path, await Intake.resume(path, opening.size))
}

const digestOfPartial = (name: string): Digest | undefined => {
  const digest = `sha256:${name.slice(PARTIAL.length)}`
  return name.startsWith(PARTIAL) && isDigest(digest) ? digest : undefined
}

export async function* listPartials(directory: string): AsyncGenerator<PartialInfo> {
  for await (const { name } of await opendir(directory)) {
    const digest = digestOfPartial(name)
    if (!digest) continue
    const path = join(directory, name)
    try {
      yield { digest, path, size: (await stat(path)).size }
    } catch (error) {
      // It was finished, or given up.
      if (!hasCode(error, 'ENOENT')) throw error
    }
  }
}

/** It has not been given up, and its blob is not there. */
const isWanted = async (directory: string, name: string, names: ReadonlySet<string>): Promise<boolean> => {
  const digest = digestOfPartial(name)
  if (!digest || names.has(digestHex(digest))) return false
  return Date.now() - (await stat(join(directory, name))).mtimeMs < KEPT_MS
}

/** Removes what is neither a blob nor one that is still to come. */
export const recoverBlobs = async (directory: string): Promise<void> => {
  const names = new Set(await readdir(directory))
  for (const name of names) {
    if (!name.startsWith(UNFINISHED) && !name.startsWith(PARTIAL)) continue
    if (!(await isWanted(directory, name, names))) await rm(join(directory, name), { force: true })
  }
  await syncDirectory(directory)
}
