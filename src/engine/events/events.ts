import { nowNanos } from '../../core/clock.ts'
import type { Database, EventQuery } from '../../store/database.ts'
import type { EventMessage } from './types.ts'

/** Events older than this many are dropped from the journal, once every so many and when a daemon begins. */
const keptEvents = 100_000
const trimEvery = 1000
const pageSize = 256

const parse = (json: string): EventMessage =>
  JSON.parse(json, (key, value: unknown, context?: { source?: string }) =>
    key === 'timeNano' ? BigInt(context?.source ?? String(value)) : value,
  ) as EventMessage

/** Fields at the top that said the same before 1.22, and were there until 1.52. */
const legacyFields = ({ Type, Action, Actor }: EventMessage): object =>
  Type === 'container' || Type === 'image'
    ? {
        status: Action,
        id: Actor.ID,
        ...(Actor.Attributes['image'] ? { from: Actor.Attributes['image'] } : {}),
      }
    : {}

/** The JSON text of an event, `timeNano` with all its digits. */
export const eventJson = (event: EventMessage, { legacy }: { legacy: boolean }): string => {
  const { Type, Action, Actor, scope, time, timeNano } = event
  const fields = { ...(legacy ? legacyFields(event) : {}), Type, Action, Actor, scope, time }
  return `${JSON.stringify(fields).slice(0, -1)},"timeNano":${timeNano}}`
}

/** What happened: told to who listens, and kept in a journal that outlives the daemon. Events report; nothing is steered by them. */
export class Events {
  readonly #database: Database
  readonly #listeners = new Set<(event: EventMessage) => void>()
  #sinceTrim = trimEvery - 1
  #published = 0
  #tail: Promise<void> = Promise.resolve()

  constructor(database: Database) {
    this.#database = database
  }

  publish(
    type: EventMessage['Type'],
    action: string,
    id: string,
    attributes: Record<string, string> = {},
  ): void {
    this.#published++
    const timeNano = nowNanos()
    const event: EventMessage = {
      Type: type,
      Action: action,
      Actor: { ID: id, Attributes: attributes },
      scope: 'local',
      time: Number(timeNano / 1_000_000_000n),
      timeNano,
    }
    // Execs come in numbers and leave nothing behind: their events may go with a daemon that dies in that moment.
    const lazy = action.startsWith('exec_')
    this.#tail = this.#database
      .appendEvent(timeNano, eventJson(event, { legacy: false }), { lazy })
      .catch(() => {})
    if (++this.#sinceTrim >= trimEvery) {
      this.#sinceTrim = 0
      void this.#database.trimEvents(keptEvents).catch(() => {})
    }
    for (const listener of this.#listeners) listener(event)
  }

  /** How many there were since the daemon's start. */
  get published(): number {
    return this.#published
  }

  /** How many listen now. */
  get listeners(): number {
    return this.#listeners.size
  }

  /** Settles when all that was published is in the journal. */
  flush(): Promise<void> {
    return this.#tail
  }

  subscribe(listener: (event: EventMessage) => void): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }

  /** A page of the journal, as JSON texts; `next` is where it goes on. */
  async find(
    query: EventQuery,
    signal: AbortSignal,
  ): Promise<{ events: string[]; next: number | undefined }> {
    await this.flush()
    const { events, after } = await this.#database.findEvents(query, signal)
    return { events: events.map(({ json }) => json), next: after }
  }

  /** The journal's events of a span of time (nanoseconds), in order. */
  async *history(since: bigint, until: bigint): AsyncGenerator<EventMessage> {
    await this.flush()
    let after = 0
    for (;;) {
      const page = await this.#database.events({ since, until, after, limit: pageSize })
      for (const stored of page) yield parse(stored.json)
      const last = page.at(-1)
      if (!last || page.length < pageSize) return
      after = last.sequence
    }
  }
}
