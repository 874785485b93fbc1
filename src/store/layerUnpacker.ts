import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { UnpackLimits } from '../archive/budget.ts'
import type { LayerResult, LayerTask } from '../archive/layer.ts'
import type { WorkerPool } from '../archive/pool.ts'
import type { Digest } from '../oci/digest.ts'
import type { Fresh } from './arrivingLayer.ts'
import { unfinishedName } from './durable.ts'
import { lostBlob } from './layerErrors.ts'
import { contentDirectory, whiteoutFile } from './layerRecord.ts'
import type { Trash } from './trash.ts'
import type { ContentStore, LayerSource, LayerWorkOptions } from './types.ts'

export interface UnpackerOptions {
  /** Where the new folders are made. */
  directory: string
  content: ContentStore
  pool: WorkerPool
  trash: Trash
  whiteouts?: 'overlay' | 'record'
  limits?: Partial<UnpackLimits>
}

/** A file that is being written, and how far it has come. */
type Growing = Pick<LayerTask, 'blob' | 'blobSize'> & { arrival: SharedArrayBuffer }
type UnpackInto = Pick<LayerTask, 'directory' | 'limits' | 'record'>

/** Fills new folders with the files of layers, in workers. Whose they are to be is the caller's. */
export class LayerUnpacker {
  readonly #options: UnpackerOptions

  constructor(options: UnpackerOptions) {
    this.#options = options
  }

  /** From a blob of the content store; one that was verified as `diffId` is not hashed again. */
  async stored(
    { blob, diffId }: LayerSource,
    { isVerified, ...options }: LayerWorkOptions & { isVerified?: boolean } = {},
  ): Promise<Fresh> {
    const from = await this.blobFile(blob)
    const digest = isVerified && blob === diffId ? { digest: diffId } : {}
    return await this.#fresh(into =>
      this.#options.pool.run('unpackLayer', { ...into, ...from, ...digest }, options),
    )
  }

  growing(from: Growing, options: LayerWorkOptions): Promise<Fresh> {
    return this.#fresh(into => this.#options.pool.run('followLayer', { ...into, ...from }, options))
  }

  /** Errors: those of a lost blob. */
  async blobFile(blob: Digest): Promise<{ blob: string; blobSize: number }> {
    const { content } = this.#options
    const info = await content.info(blob)
    if (!info) throw lostBlob(blob, content.quarantine.find(blob))
    return { blob: content.path(blob), blobSize: info.size }
  }

  /** Has a new folder filled; it is gone where that fails. */
  async #fresh(unpack: (into: UnpackInto) => Promise<LayerResult>): Promise<Fresh> {
    const { limits, whiteouts, trash } = this.#options
    const home = join(this.#options.directory, unfinishedName())
    const directory = contentDirectory(home)
    try {
      await mkdir(directory, { recursive: true, mode: 0o755 })
      const result = await unpack({
        directory,
        ...(limits ? { limits } : {}),
        ...(whiteouts === 'record' ? { record: whiteoutFile(home) } : {}),
      })
      return { home, result }
    } catch (error) {
      trash.take(home)
      throw error
    }
  }
}
