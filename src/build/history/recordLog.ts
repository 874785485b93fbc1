import { createHash } from 'node:crypto'
import { type FileHandle, open, rm } from 'node:fs/promises'
import { toBinary } from '@bufbuild/protobuf'
import { SerialQueue } from '../../core/queue.ts'
import type { Digest } from '../../oci/digest.ts'
import { writeAll } from '../../store/durable.ts'
import { StatusResponseSchema } from '../../wire/buildkit/control_pb.ts'
import type { VertexDigest } from '../graph/types.ts'
import type { StatusUpdate } from '../solver/progress.ts'
import type { LogInfo } from '../solver/progressLogs.ts'
import { frameOf, logType } from './frames.ts'
import { statusMessage } from './statusMessages.ts'
import type { RecordedBlob } from './types.ts'

/** Of one build's log, all steps together. Bytes. */
const mostTold = 8 << 20

/** What is kept in memory before there is a file; a log that is no longer is kept in the record. Bytes. */
const mostHeld = 16 << 10

/** What a build tells, as bytes: held while they are few, then in a file as they come. */
export class RecordLog {
  readonly #path: string
  readonly #beforeFile: () => Promise<void>
  readonly #hash = createHash('sha256')
  readonly #queue = new SerialQueue()
  /** Steps whose output is left out from now on; told of once each. */
  readonly #cut = new Set<VertexDigest>()
  #held: Buffer[] = []
  #size = 0
  #told = 0
  #file: FileHandle | undefined
  #isBegun = false
  #isOver = false

  /** `beforeFile` is done before a file is made at `path`. */
  constructor(path: string, { beforeFile }: RecordLogOptions) {
    this.#path = path
    this.#beforeFile = beforeFile
  }

  append(update: StatusUpdate): Promise<void> {
    const message = statusMessage(this.#within(update))
    const frame = frameOf(toBinary(StatusResponseSchema, message))
    return this.#queue.run(async () => {
      if (this.#isOver) return
      // What could not be written is no part of it.
      if (this.#file) await writeAll(this.#file, frame)
      else this.#held.push(frame)
      this.#hash.update(frame)
      this.#size += frame.length
      if (this.#file) return
      if (update.logs.length > 0 || this.#size > mostHeld) await this.#toFile()
    })
  }

  /** From now on nothing is only in memory. */
  flush(): Promise<void> {
    return this.#queue.run(async () => {
      if (!this.#isOver && !this.#file) await this.#toFile()
    })
  }

  /** All of it; nothing more is taken. */
  end(): Promise<RecordedBlob> {
    return this.#queue.run(async () => {
      this.#isOver = true
      await this.#close()
      const digest = `sha256:${this.#hash.digest('hex')}` as Digest
      const blob = { mediaType: logType, digest, size: this.#size }
      if (this.#held.length === 0 && this.#size > 0) return blob
      // A file that could not be made whole.
      if (this.#isBegun) await rm(this.#path, { force: true })
      return { ...blob, bytes: Buffer.concat(this.#held.splice(0)).toString('base64') }
    })
  }

  /** Nothing of it stays. */
  drop(): Promise<void> {
    return this.#queue.run(async () => {
      this.#isOver = true
      await this.#close()
      await rm(this.#path, { force: true })
    })
  }

  async #toFile(): Promise<void> {
    await this.#beforeFile()
    this.#isBegun = true
    const file = await open(this.#path, 'wx', 0o600)
    this.#file = file
    for (const frame of this.#held) await writeAll(file, frame)
    this.#held = []
  }

  async #close(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    await file?.close()
  }

  /** Beyond the limit only the steps' states are kept. */
  #within(update: StatusUpdate): StatusUpdate {
    const logs: LogInfo[] = []
    for (const log of update.logs) {
      if (this.#told + log.bytes.length <= mostTold) {
        this.#told += log.bytes.length
        logs.push(log)
      } else if (!this.#cut.has(log.vertex)) {
        this.#cut.add(log.vertex)
        const bytes = Buffer.from('\n[the record of this build is full: later output is not in it]\n')
        logs.push({ ...log, bytes })
      }
    }
    return { ...update, logs, statuses: this.#cut.size > 0 ? [] : update.statuses }
  }
}

interface RecordLogOptions {
  beforeFile: () => Promise<void>
}
