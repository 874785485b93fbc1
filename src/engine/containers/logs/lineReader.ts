import type { LogHandle } from './compressedFile.ts'
import type { LogFile } from './files.ts'

/** Reads whole lines from one open file; keeps what follows the last newline for the next call. */
export class LineReader implements AsyncDisposable {
  readonly file: LogFile
  readonly handle: LogHandle
  #offset: number
  #rest = Buffer.alloc(0)
  readonly #buffer: Buffer

  constructor(file: LogFile, handle: LogHandle, { offset = 0, chunk = 256 * 1024 } = {}) {
    this.file = file
    this.handle = handle
    this.#offset = offset
    this.#buffer = Buffer.allocUnsafe(chunk)
  }

  /** Where the first line begins that was not read yet. */
  get position(): number {
    return this.#offset - this.#rest.length
  }

  /** The next lines, joined; undefined at the end of what is there now. */
  async read(): Promise<string[] | undefined> {
    const { bytesRead } = await this.handle.read(this.#buffer, 0, this.#buffer.length, this.#offset)
    if (bytesRead === 0) return undefined
    this.#offset += bytesRead
    const whole = this.#rest.length
      ? Buffer.concat([this.#rest, this.#buffer.subarray(0, bytesRead)])
      : this.#buffer.subarray(0, bytesRead)
    const end = whole.lastIndexOf(0x0a) + 1
    this.#rest = Buffer.from(whole.subarray(end))
    return end === 0 ? [] : whole.toString('utf8', 0, end - 1).split('\n')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.handle.close()
  }
}
