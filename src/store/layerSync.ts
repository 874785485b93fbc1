import { existsSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf } from '../core/errors.ts'
import { failpoint } from '../core/failpoint.ts'
import { AT_FDCWD, O_DIRECTORY, O_RDONLY, openAt, owned, syncFilesystemAsync } from '../linux/files.ts'
import type { Digest } from '../oci/digest.ts'
import { type LayerRecord, layerHome, recordFile } from './layerRecord.ts'

/**
 * Milliseconds. A commit of the caller's that follows at once would otherwise wait for all of the data: the
 * filesystem's journal has one queue.
 */
const syncDelay = 1000

/**
 * Makes unpacked layers durable behind the back of who asked for them: until
 * then their record bears the boot that wrote them, so that whoever finds it
 * after another boot knows that the content may be missing. It can be had
 * again from the blob, which is on disk before the layer is made.
 */
export class LayerSync {
  readonly #root: string
  readonly #onError: (path: string, error: unknown) => void
  readonly #waiting = new Map<Digest, LayerRecord>()
  #running: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(root: string, onError: (path: string, error: unknown) => void) {
    this.#root = root
    this.#onError = onError
  }

  /** Takes layers that bear their final names. */
  add(records: readonly LayerRecord[]): void {
    for (const record of records) this.#waiting.set(record.key, record)
    if (this.#waiting.size > 0 && !this.#running)
      this.#timer ??= setTimeout(() => this.#begin(), syncDelay).unref()
  }

  #begin(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#waiting.size > 0) this.#running ??= this.#run()
  }

  /** Resolves when all that were added are durable, or could not be made so. */
  async idle(): Promise<void> {
    await this.#running
    this.#begin()
    await this.#running
  }

  async #run(): Promise<void> {
    const directory = join(this.#root, 'layers')
    try {
      while (this.#waiting.size > 0) {
        const records = [...this.#waiting.values()]
        this.#waiting.clear()
        using folder = owned(openAt(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY))
        await syncFilesystemAsync(folder.fd)
        failpoint('layers.synced')
        for (const record of records) this.#confirm(record)
      }
    } catch (error) {
      // Their records go on saying that they may be missing.
      this.#onError(directory, new Error(`layers could not be made durable: ${messageOf(error)}`))
    } finally {
      this.#running = undefined
    }
  }

  /** One that was removed meanwhile is gone. That this is not synced costs no more than another unpacking. */
  #confirm({ unsynced: _, ...record }: LayerRecord): void {
    const file = recordFile(layerHome(this.#root, record.key))
    if (!existsSync(file)) return
    writeFileSync(`${file}.new`, JSON.stringify(record))
    renameSync(`${file}.new`, file)
  }
}
