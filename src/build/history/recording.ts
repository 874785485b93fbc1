import { alarmAfter } from '../../core/alarm.ts'
import { formatNanos } from '../../core/clock.ts'
import { digestOf } from '../../oci/digest.ts'
import type { BuildProgress, StatusUpdate, VertexInfo } from '../solver/progress.ts'
import { keptAttributes, withoutPasswords } from './attributes.ts'
import { RecordLog } from './recordLog.ts'
import { StepBook } from './steps.ts'
import type { BuildEnd, BuildInputs, BuildRecord, OpenRecord, RecordedError } from './types.ts'

/** A build that lasts as long is noted on disk before it ends, whatever it does. Milliseconds. */
const noteAfter = 1000

const errorType = 'application/vnd.googeapis.google.rpc.status+proto'

const errorOf = ({ code, message, details }: NonNullable<BuildEnd['error']>): RecordedError => ({
  code,
  message: withoutPasswords(message),
  ...(details
    ? {
        details: {
          mediaType: errorType,
          digest: digestOf(details),
          size: details.length,
          bytes: Buffer.from(details).toString('base64'),
        },
      }
    : {}),
})

const keptVertex = (info: VertexInfo): VertexInfo => ({
  ...info,
  name: withoutPasswords(info.name),
  error: withoutPasswords(info.error),
})

export interface RecordingParts {
  inputs: BuildInputs
  /** Nanoseconds since the epoch; no two builds of a daemon have the same. */
  createdAt: bigint
  progress: BuildProgress
  logPath: string
  /** Says on disk that it is under way. */
  note(record: OpenRecord): Promise<void>
  /** Keeps it. */
  keep(record: BuildRecord): Promise<void>
  onError(error: unknown): void
}

/** The record of one build, while it is under way. It holds up no build, and fails none. */
export class Recording {
  readonly #parts: RecordingParts
  readonly #book = new StepBook()
  readonly #log: RecordLog
  readonly #reading: Promise<void>
  readonly #alarm: Disposable
  readonly #createdAt: string
  #inputs: BuildInputs
  #isNoted = false
  #noting: Promise<void> = Promise.resolve()

  constructor(parts: RecordingParts) {
    const { inputs, createdAt, logPath, note } = parts
    this.#parts = parts
    this.#createdAt = formatNanos(createdAt)
    this.#inputs = { ...inputs, ...this.#kept(inputs) }
    this.#log = new RecordLog(logPath, {
      beforeFile: async () => {
        this.#isNoted = true
        await note(this.record)
      },
    })
    this.#reading = this.#read()
    this.#alarm = alarmAfter(noteAfter, () => void this.#log.flush().catch(parts.onError))
  }

  get ref(): string {
    return this.#inputs.ref
  }

  /** What it tells, from its beginning on. */
  read(signal: AbortSignal): AsyncIterable<StatusUpdate> {
    return this.#parts.progress.read(signal)
  }

  /** As far as it has come. */
  get record(): OpenRecord {
    return {
      ...this.#inputs,
      createdAt: this.#createdAt,
      steps: this.#book.steps(this.#parts.progress.causes),
      counts: this.#book.counts,
      pinned: false,
      generation: 0,
    }
  }

  #kept({ attributes, exporters }: Pick<BuildInputs, 'attributes' | 'exporters'>): Partial<BuildInputs> {
    return {
      attributes: keptAttributes(attributes),
      exporters: exporters.map(({ type, attributes: own }) => ({ type, attributes: keptAttributes(own) })),
    }
  }

  /** A client that leads its build may say what it is to be only now; what was said first counts. */
  asked(frontend: string, attributes: Readonly<Record<string, string>>): void {
    const { frontend: first, attributes: known } = this.#inputs
    this.#inputs = {
      ...this.#inputs,
      frontend: first || frontend,
      attributes: { ...keptAttributes(attributes), ...known },
    }
    // One after another: what was said last is what stays.
    if (this.#isNoted)
      this.#noting = this.#noting.then(() => this.#parts.note(this.record)).catch(this.#parts.onError)
  }

  async #read(): Promise<void> {
    try {
      for await (const update of this.#parts.progress.read()) {
        const vertexes = update.vertexes.map(keptVertex)
        this.#book.hear({ ...update, vertexes })
        await this.#log.append({ ...update, vertexes })
      }
    } catch (error) {
      this.#parts.onError(error)
    }
  }

  /** Settles when the record is on disk; its progress has ended. Errors are told to whoever made it. */
  async end(end: BuildEnd, completedAt: bigint): Promise<void> {
    this.#alarm[Symbol.dispose]()
    await this.#reading
    await this.#noting
    try {
      await this.#parts.keep({
        ...this.record,
        completedAt: formatNanos(completedAt),
        ...(end.error ? { error: errorOf(end.error) } : {}),
        response: end.response ?? {},
        log: await this.#log.end(),
      })
    } catch (error) {
      this.#parts.onError(error)
      await this.#log.drop().catch(this.#parts.onError)
    }
  }
}
