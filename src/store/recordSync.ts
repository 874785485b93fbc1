import { existsSync, renameSync, writeFileSync } from 'node:fs'
import { messageOf } from '../core/errors.ts'
import { failpoint } from '../core/failpoint.ts'
import { AT_FDCWD, O_DIRECTORY, O_RDONLY, openAt, owned, syncFilesystemAsync } from '../linux/files.ts'

/**
 * Milliseconds. A commit of the caller's that follows at once would otherwise wait for all of the data: the
 * filesystem's journal has one queue.
 */
const syncDelay = 1000

export interface RecordSyncOptions<R> {
  /** On the file system that is to be synced. */
  directory: string
  /** The name of its fail point. */
  point: string
  /** A record's file. */
  fileOf: (record: R) => string
  /** Hears that all of one is on the disk, and gives what is to be written of it; undefined where it is gone. */
  settled: (record: R) => object | undefined
  onError: (path: string, error: unknown) => void
}

/**
 * Makes folders of files durable behind the back of who asked for them: until
 * then their record bears the boot that wrote them, so that whoever finds it
 * after another boot knows that the content may be missing. It can be made
 * again: a layer from its blob, a snapshot by its step.
 */
export class RecordSync<R> {
  readonly #options: RecordSyncOptions<R>
  readonly #waiting = new Map<string, R>()
  #running: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(options: RecordSyncOptions<R>) {
    this.#options = options
  }

  /** Takes records of what bears its final name. */
  add(records: readonly R[]): void {
    for (const record of records) this.#waiting.set(this.#options.fileOf(record), record)
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
    const { directory, point, onError } = this.#options
    try {
      while (this.#waiting.size > 0) {
        const records = [...this.#waiting]
        this.#waiting.clear()
        using folder = owned(openAt(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY))
        await syncFilesystemAsync(folder.fd)
        failpoint(point)
        for (const [file, record] of records) this.#confirm(file, record)
      }
    } catch (error) {
      // Their records go on saying that they may be missing.
      onError(directory, new Error(`${directory} could not be made durable: ${messageOf(error)}`))
    } finally {
      this.#running = undefined
    }
  }

  /** One that was removed meanwhile is gone. That this is not synced costs no more than making it once more. */
  #confirm(file: string, record: R): void {
    const settled = this.#options.settled(record)
    if (!settled || !existsSync(file)) return
    writeFileSync(`${file}.new`, JSON.stringify(settled))
    renameSync(`${file}.new`, file)
  }
}
