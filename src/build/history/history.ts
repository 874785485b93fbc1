import { fromBinary } from '@bufbuild/protobuf'
import { nowNanos } from '../../core/clock.ts'
import { conflict, notFound } from '../../core/errors.ts'
import { SerialQueue } from '../../core/queue.ts'
import type { Digest } from '../../oci/digest.ts'
import { type StatusResponse, StatusResponseSchema } from '../../wire/buildkit/control_pb.ts'
import type { BuildProgress } from '../solver/progress.ts'
import { type RecordEntry, RecordFiles, stemOf } from './files.ts'
import { messagesOf } from './frames.ts'
import { type HistoryLimits, surplus } from './limits.ts'
import { Recording } from './recording.ts'
import { statusMessage } from './statusMessages.ts'
import type { BuildEnd, BuildInputs, BuildRecord, HistoryEvent } from './types.ts'

interface HistoryOptions {
  /** A folder of its own. */
  root: string
  limits: HistoryLimits
  /** Hears of records that could not be kept, which harms no build. */
  onError(error: unknown): void
}

/** A build while it is recorded. */
export interface OpenBuildRecord {
  /** What a client that leads its build asks for. */
  asked(frontend: string, attributes: Readonly<Record<string, string>>): void
  /** Settles when the record is kept. */
  end(end: BuildEnd): Promise<void>
}

/** The bytes of something that a record names. */
export interface HistoryBlob {
  size: number
  read(part?: { start: number; size: number }): AsyncIterable<Buffer>
}

const noBuild = (ref: string): Error => notFound(`no record of a build ${ref}: there was none, or it is gone`)

/** Records of builds, those that are under way first. */
export class BuildHistory {
  readonly #files: RecordFiles
  readonly #options: HistoryOptions
  readonly #open = new Map<string, Recording>()
  /** By ref. */
  readonly #entries = new Map<string, RecordEntry>()
  readonly #hearers = new Set<(event: HistoryEvent) => void>()
  readonly #changes = new SerialQueue()

  private constructor(files: RecordFiles, options: HistoryOptions) {
    this.#files = files
    this.#options = options
  }

  /** Builds that died with an earlier daemon are recorded as that. */
  static async open(options: HistoryOptions): Promise<BuildHistory> {
    const files = new RecordFiles(options.root)
    const history = new BuildHistory(files, options)
    const entries = await files.recover(options.onError)
    // Of one ref the newest stays.
    for (const entry of entries.sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1)))
      await history.#take(entry)
    await history.#shrink()
    return history
  }

  /** Records a build until its `end`, by what its progress tells. */
  begin(inputs: BuildInputs, progress: BuildProgress): OpenBuildRecord {
    const createdAt = nowNanos()
    const stem = stemOf(inputs.ref, createdAt)
    const recording = new Recording({
      ...{ inputs, createdAt, progress },
      logPath: this.#files.logPath(stem),
      note: async record => await this.#files.note(stem, record),
      keep: async record =>
        await this.#changes.run(async () => await this.#take(await this.#files.keep(stem, record))),
      onError: this.#options.onError,
    })
    const { ref } = inputs
    this.#open.set(ref, recording)
    this.#tell({ kind: 'started', ref })
    return {
      asked: (frontend, attributes) => recording.asked(frontend, attributes),
      end: async end => {
        await recording.end(end, nowNanos())
        if (this.#open.get(ref) === recording) this.#open.delete(ref)
        this.#tell({ kind: 'complete', ref })
        await this.#changes.run(() => this.#shrink())
      },
    }
  }

  /** Builds that are under way, the newest first. */
  get open(): Recording[] {
    return [...this.#open.values()].reverse()
  }

  running(ref: string): Recording | undefined {
    return this.#open.get(ref)
  }

  /** Whether there is a record, open or kept. */
  knows(ref: string): boolean {
    return this.#open.has(ref) || this.#entries.has(ref)
  }

  /** The ref that begins so; undefined for none or several. */
  refOf(beginning: string): string | undefined {
    if (this.knows(beginning)) return beginning
    const all = new Set([...this.#open.keys(), ...this.#entries.keys()])
    const found = [...all].filter(ref => beginning !== '' && ref.startsWith(beginning))
    return found.length === 1 ? found[0] : undefined
  }

  /** Of builds that have ended, the newest first; only those begun before a time, nanoseconds since the epoch. */
  async *records(before?: bigint): AsyncGenerator<BuildRecord> {
    const entries = [...this.#entries.values()].sort((a, b) => (a.createdAt > b.createdAt ? -1 : 1))
    for (const { stem, createdAt } of entries) {
      if (before !== undefined && createdAt >= before) continue
      const record = await this.#files.read(stem)
      if (record) yield record
    }
  }

  /** Errors: `not-found`. */
  async record(ref: string): Promise<BuildRecord> {
    return (await this.#kept(ref)).record
  }

  /** A record and where it is, of one moment: a later build of the ref may take its place. Errors: `not-found`. */
  async #kept(ref: string): Promise<{ stem: string; record: BuildRecord }> {
    const { stem } = this.#entries.get(ref) ?? {}
    const record = stem === undefined ? undefined : await this.#files.read(stem)
    if (stem === undefined || !record) throw noBuild(ref)
    return { stem, record }
  }

  /** All that `Control.Status` tells of a build; until it ends where it is under way. Errors: `not-found`, the signal's reason. */
  async *told(ref: string, signal: AbortSignal): AsyncGenerator<StatusResponse> {
    const going = this.#open.get(ref)
    if (going) {
      for await (const update of going.read(signal)) yield statusMessage(update)
      return
    }
    const { stem, record } = await this.#kept(ref)
    for await (const message of messagesOf(this.#files.bytes(stem, record.log)))
      yield fromBinary(StatusResponseSchema, message)
  }

  async blob(digest: Digest): Promise<HistoryBlob | undefined> {
    for (const { stem, blobs } of this.#entries.values()) {
      const blob = blobs.includes(digest) ? await this.#files.blob(stem, digest) : undefined
      if (blob) return { size: blob.size, read: part => this.#files.bytes(stem, blob, part) }
    }
    return undefined
  }

  /** Pinned ones stay whatever the limits are. Errors: `not-found`. */
  async pin(ref: string, pinned: boolean): Promise<void> {
    await this.#changes.run(async () => {
      const { stem, record } = await this.#kept(ref)
      const changed = { ...record, pinned, generation: record.generation + 1 }
      this.#entries.set(ref, await this.#files.keep(stem, changed))
    })
    this.#tell({ kind: 'complete', ref })
  }

  /** Errors: `not-found`, `conflict` while the build is under way. */
  async remove(ref: string): Promise<void> {
    if (this.#open.has(ref)) throw conflict(`the build ${ref} is under way: its record goes only afterwards`)
    await this.#changes.run(async () => {
      const entry = this.#entries.get(ref)
      if (!entry) throw noBuild(ref)
      await this.#remove(entry)
    })
  }

  /** Hears of what changes from now on. */
  listen(hear: (event: HistoryEvent) => void): Disposable {
    this.#hearers.add(hear)
    return { [Symbol.dispose]: () => this.#hearers.delete(hear) }
  }

  #tell(event: HistoryEvent): void {
    for (const hear of this.#hearers) hear(event)
  }

  /** A later build of the same ref takes the place of the earlier one. */
  async #take(entry: RecordEntry): Promise<void> {
    const earlier = this.#entries.get(entry.ref)
    this.#entries.delete(entry.ref)
    this.#entries.set(entry.ref, entry)
    if (earlier && earlier.stem !== entry.stem)
      await this.#files.remove(earlier.stem).catch(this.#options.onError)
  }

  async #remove({ ref, stem }: RecordEntry): Promise<void> {
    this.#entries.delete(ref)
    await this.#files.remove(stem)
    this.#tell({ kind: 'deleted', ref })
  }

  async #shrink(): Promise<void> {
    const gone = surplus([...this.#entries.values()], this.#options.limits, Date.now())
    // One that cannot be removed is no failure of the build that ended, or of the start.
    for (const entry of gone) await this.#remove(entry).catch(this.#options.onError)
  }
}
