/**
 * What is kept of what a process writes, as in BuildKit (util/progress/logs): each of its two streams may give
 * 2 MiB in all, and up to then 200 KiB for each second that it has been running. What is beyond is left out, with a
 * notice, and the last 256 KiB since then come when the step has ended.
 */
export interface OutputLimits {
  bytes: number
  bytesPerSecond: number
  tailBytes: number
}

export const outputLimits: OutputLimits = {
  bytes: 2 << 20,
  bytesPerSecond: 200 << 10,
  tailBytes: 256 << 10,
}

const sizeText = (bytes: number): string =>
  bytes >= 1 << 20 ? `${bytes / (1 << 20)}MiB` : bytes >= 1 << 10 ? `${bytes / (1 << 10)}KiB` : `${bytes}B`

/** The last bytes of a stream, in pieces. */
class Tail {
  readonly #limit: number
  #pieces: Uint8Array[] = []
  #size = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  push(bytes: Uint8Array): void {
    const piece = bytes.subarray(Math.max(0, bytes.length - this.#limit))
    this.#pieces.push(piece)
    this.#size += piece.length
    // Joined only when it has doubled: small pieces would be copied again and again.
    if (this.#size <= 2 * this.#limit) return
    const joined = this.take()
    this.#pieces = [joined]
    this.#size = joined.length
  }

  /** Copies: a piece holds all of the buffer that it was cut from. */
  take(): Uint8Array {
    const all = Buffer.concat(this.#pieces)
    return Buffer.from(all.subarray(Math.max(0, all.length - this.#limit)))
  }
}

/** One stream of one step. */
export class OutputLimit {
  readonly #limits: OutputLimits
  readonly #seconds: () => number
  #size = 0
  #isClipping = false
  #tail: Tail | undefined

  /** `seconds` since the step began. */
  constructor(seconds: () => number, limits: OutputLimits = outputLimits) {
    this.#seconds = seconds
    this.#limits = limits
  }

  #allowed(): { total: number; notice: string } {
    const { bytes, bytesPerSecond } = this.#limits
    const byNow = Math.max(1, Math.ceil(this.#seconds())) * bytesPerSecond
    return byNow > bytes
      ? { total: bytes, notice: sizeText(bytes) }
      : { total: byNow, notice: `${sizeText(bytesPerSecond)}/s` }
  }

  /** What of it is told. */
  take(bytes: Uint8Array): Uint8Array {
    const { total, notice } = this.#allowed()
    const room = Math.max(0, total - this.#size)
    this.#size += bytes.length
    if (bytes.length > room) this.#tail ??= new Tail(this.#limits.tailBytes)
    this.#tail?.push(bytes)
    if (bytes.length <= room) {
      this.#isClipping = false
      return bytes
    }
    const told = bytes.subarray(0, room)
    if (this.#isClipping) return told
    this.#isClipping = true
    return Buffer.concat([told, Buffer.from(`\n[output clipped, log limit ${notice} reached]\n`)])
  }

  /** At the end of the step: the last bytes since something was left out. */
  end(): Uint8Array {
    const tail = this.#tail?.take() ?? new Uint8Array()
    this.#tail = undefined
    return tail
  }
}
