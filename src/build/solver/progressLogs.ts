import type { VertexDigest } from '../graph/types.ts'

export interface LogInfo {
  vertex: VertexDigest
  stream: 'stdout' | 'stderr'
  bytes: Uint8Array
  time: bigint
}

/** What one message to a client holds at most, so that it is none that gRPC refuses. */
const mostAtOnce = 1 << 20

/** A piece that is cut from a larger buffer must not keep all of that. */
const compact = (bytes: Uint8Array): Uint8Array =>
  bytes.byteLength * 2 < bytes.buffer.byteLength ? Uint8Array.from(bytes) : bytes

/** The output of a build's steps, within a bound: what is oldest goes. */
export class LogStore {
  readonly #limit: number
  #entries: { version: number; log: LogInfo }[] = []
  #first = 0
  #bytes = 0
  /** Steps of which something is gone, with the version and the time of the last of it. */
  readonly #dropped = new Map<VertexDigest, { version: number; time: bigint }>()

  constructor(limit: number) {
    this.#limit = limit
  }

  /** `version` grows with each. */
  push(log: LogInfo, version: number): void {
    this.#entries.push({ version, log: { ...log, bytes: compact(log.bytes) } })
    this.#bytes += log.bytes.length
    while (this.#bytes > this.#limit && this.#first < this.#entries.length - 1) this.#drop()
    if (this.#first > 1000 && this.#first * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#first)
      this.#first = 0
    }
  }

  #drop(): void {
    const entry = this.#entries[this.#first]
    if (!entry) return
    this.#first++
    this.#bytes -= entry.log.bytes.length
    this.#dropped.set(entry.log.vertex, { version: entry.version, time: entry.log.time })
  }

  /** What came after a version, in messages. What is gone by then is told of. */
  since(version: number): LogInfo[][] {
    const messages: LogInfo[][] = []
    let [message, size]: [LogInfo[], number] = [this.#notices(version), 0]
    for (const log of this.#after(version)) {
      if (size + log.bytes.length > mostAtOnce && message.length > 0) {
        messages.push(message)
        message = []
        size = 0
      }
      message.push(log)
      size += log.bytes.length
    }
    return message.length > 0 ? [...messages, message] : messages
  }

  #notices(version: number): LogInfo[] {
    const bytes = Buffer.from('[earlier output dropped, too much of this build]\n')
    return [...this.#dropped]
      .filter(([, gone]) => gone.version > version)
      .map(([vertex, { time }]) => ({ vertex, stream: 'stderr', bytes, time }))
  }

  /** From behind: who reads along wants the last ones. */
  #after(version: number): LogInfo[] {
    let start = this.#entries.length
    while (start > this.#first && (this.#entries[start - 1]?.version ?? 0) > version) start--
    return this.#entries.slice(start).map(({ log }) => log)
  }
}
