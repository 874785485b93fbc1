import { abandonable } from '../../core/abort.ts'
import { nowNanos } from '../../core/clock.ts'
import type { Vertex, VertexDigest } from '../graph/types.ts'
import { type LogInfo, LogStore } from './progressLogs.ts'
import type { BuildEvent, PartStatus, VertexState } from './types.ts'
import type { Cause } from './why.ts'

/**
 * What a build tells of its vertices, as BuildKit's Status stream has it (solver/progress.go): who comes late hears
 * of all that was, in its last state, and then what changes. Times in nanoseconds since the epoch.
 */

export interface VertexInfo {
  digest: VertexDigest
  inputs: VertexDigest[]
  name: string
  /** Those of one group are shown as one. */
  group?: string
  startedAt?: bigint
  completedAt?: bigint
  cached: boolean
  /** Empty for none. */
  error: string
}

export interface PartInfo extends PartStatus {
  vertex: VertexDigest
  time: bigint
}

/** A part of a file that a message is about. */
export interface SourceRange {
  /** Lines from 1, characters from 0. */
  start: { line: number; character: number }
  end: { line: number; character: number }
}

/** A file with the parts of it that a message is about, for clients to show. */
export interface SourceExcerpt {
  file: string
  text: Uint8Array
  language: string
  ranges: SourceRange[]
}

export interface WarningInfo {
  vertex: VertexDigest
  level: number
  short: string
  detail: string[]
  url: string
  source?: SourceExcerpt
}

export interface StatusUpdate {
  vertexes: VertexInfo[]
  statuses: PartInfo[]
  logs: LogInfo[]
  warnings: WarningInfo[]
}

const mostParts = 10_000
const mostWarnings = 1000

/** How BuildKit's clients know what was not waited for. */
const cancelled = 'context canceled'

interface Versioned<T> {
  version: number
  info: T
}

const since = <T>(entries: Iterable<Versioned<T>>, version: number): T[] =>
  [...entries].flatMap(entry => (entry.version > version ? [entry.info] : []))

const byStart = (a: VertexInfo, b: VertexInfo): number => {
  const [first, second] = [a.startedAt ?? 0n, b.startedAt ?? 0n]
  return first < second ? -1 : first > second ? 1 : 0
}

type VertexEvent = Extract<BuildEvent, { kind: 'vertex' }>

const infoOf = ({ vertex, state, startedAt, completedAt, error = '' }: VertexEvent): VertexInfo => ({
  digest: vertex.digest,
  inputs: vertex.inputs.map(input => input.vertex),
  name: vertex.step.name,
  ...(vertex.step.group === undefined ? {} : { group: vertex.step.group }),
  ...(startedAt === undefined ? {} : { startedAt }),
  ...(completedAt === undefined ? {} : { completedAt }),
  cached: state === 'cached',
  error: state === 'cancelled' ? cancelled : error,
})

/** Of one build. Never waits for who reads. */
export class BuildProgress {
  /** Grows with each change; a reader knows up to which it has heard. */
  #version = 0
  readonly #vertices = new Map<VertexDigest, Versioned<VertexInfo>>()
  readonly #states = new Map<VertexDigest, VertexState>()
  readonly #parts = new Map<string, Versioned<PartInfo>>()
  readonly #warnings: Versioned<WarningInfo>[] = []
  readonly #causes = new Map<VertexDigest, Cause[]>()
  readonly #logs: LogStore
  #isEnded = false
  #changed: PromiseWithResolvers<void> | undefined

  /** `mostLogBytes` of all steps together; the oldest output goes, with a notice. */
  constructor(mostLogBytes = 32 << 20) {
    this.#logs = new LogStore(mostLogBytes)
  }

  hear(event: BuildEvent): void {
    if (event.kind === 'vertex') this.#vertex(event)
    else if (event.kind === 'status') this.#part(event.vertex, event.part, event.time)
    else if (event.kind === 'causes') this.#causes.set(event.vertex, event.causes)
    else if (event.kind === 'warning')
      this.warn({ vertex: event.vertex, level: 1, short: event.text, detail: [], url: '' })
    else {
      const { vertex, stream, bytes, time } = event
      this.#logs.push({ vertex, stream, bytes, time }, this.#next())
    }
  }

  warn(warning: WarningInfo): void {
    if (this.#warnings.length < mostWarnings) this.#warnings.push({ version: this.#next(), info: warning })
  }

  /** Why the steps that ran did so. */
  get causes(): ReadonlyMap<VertexDigest, Cause[]> {
    return this.#causes
  }

  /** The build has ended: what was under way was cancelled. */
  end(): void {
    const completedAt = nowNanos()
    for (const { info } of [...this.#vertices.values()])
      if (info.startedAt !== undefined && info.completedAt === undefined)
        this.#set({ ...info, completedAt, error: info.error || cancelled })
    this.#isEnded = true
    this.#next()
  }

  /**
   * All there is, and then what changes until the build ends. Who reads slowly hears of several changes at once. Errors:
   * the reason of the signal.
   */
  async *read(signal: AbortSignal = new AbortController().signal): AsyncGenerator<StatusUpdate> {
    for (let heard = 0; ; ) {
      const until = this.#version
      const isEnded = this.#isEnded
      yield* this.#updates(heard)
      heard = until
      if (isEnded) return
      if (this.#version > heard) continue
      this.#changed ??= Promise.withResolvers()
      await abandonable(signal, this.#changed.promise)
      // What comes in one turn of the loop goes together.
      await new Promise(resolve => setImmediate(resolve))
    }
  }

  *#updates(version: number): Generator<StatusUpdate> {
    const vertexes = since(this.#vertices.values(), version).sort(byStart)
    const statuses = since(this.#parts.values(), version)
    const warnings = since(this.#warnings, version)
    const [first = [], ...more] = this.#logs.since(version)
    if (vertexes.length + statuses.length + warnings.length + first.length > 0)
      yield { vertexes, statuses, logs: first, warnings }
    for (const logs of more) yield { vertexes: [], statuses: [], logs, warnings: [] }
  }

  #next(): number {
    this.#changed?.resolve()
    this.#changed = undefined
    return ++this.#version
  }

  #set(info: VertexInfo): void {
    this.#vertices.set(info.digest, { version: this.#next(), info })
  }

  #vertex(event: VertexEvent): void {
    this.#states.set(event.vertex.digest, event.state)
    if (event.startedAt !== undefined) this.#cacheInputs(event.vertex, event.startedAt)
    this.#set(infoOf(event))
  }

  /** What a vertex takes and what nobody had to ask for is there: it is shown as cached. */
  #cacheInputs({ inputs }: Vertex, at: bigint): void {
    const open = inputs.map(({ vertex }) => vertex)
    for (let digest = open.pop(); digest !== undefined; digest = open.pop()) {
      const entry = this.#vertices.get(digest)
      if (!entry || this.#states.get(digest) !== 'waiting') continue
      this.#states.set(digest, 'cached')
      this.#set({ ...entry.info, startedAt: at, completedAt: at, cached: true })
      open.push(...entry.info.inputs)
    }
  }

  #part(vertex: VertexDigest, part: PartStatus, time: bigint): void {
    const key = `${vertex} ${part.id}`
    if (this.#parts.size >= mostParts && !this.#parts.has(key)) return
    this.#parts.set(key, { version: this.#next(), info: { ...part, vertex, time } })
  }
}
