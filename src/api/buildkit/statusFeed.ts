import type { StatusEvent } from './types.ts'

/**
 * All that a build tells, for whoever asks, from its beginning and then as it
 * comes. Output is kept up to a bound: of what lies further back who comes late
 * learns only that there was some.
 */

/** Output that is kept of one build. Bytes. */
const keptOutput = 16 * 1024 * 1024
/** What an event takes besides. Bytes. */
const overhead = 128
/** Most events of one message. */
const batchSize = 256

const note = Buffer.from('[earlier output is not kept]\n')

export class StatusFeed {
  readonly #events: (StatusEvent | undefined)[] = []
  readonly #outputs: number[] = []
  readonly #parts = new Map<string, number>()
  #firstOutput = 0
  #held = 0
  #ended = false
  #more = Promise.withResolvers<void>()

  tell(event: StatusEvent): void {
    if (this.#ended) return
    if (event.kind === 'output') {
      this.#held += event.bytes.length + overhead
      this.#outputs.push(this.#events.length)
    } else if (event.kind === 'status') this.#supersede(`${event.vertex} ${event.part.id}`)
    this.#events.push(event)
    this.#makeRoom()
    this.#wake()
  }

  end(): void {
    this.#ended = true
    this.#wake()
  }

  /** In the order in which they were told; ends with the build. Ends early by its signal, which is no error. */
  async *follow(signal: AbortSignal): AsyncGenerator<StatusEvent[]> {
    const left = new Promise<void>(resolve =>
      signal.addEventListener('abort', () => resolve(), { once: true }),
    )
    for (let next = 0; !signal.aborted; ) {
      const batch = this.#events.slice(next, next + batchSize)
      next += batch.length
      if (batch.length > 0) yield batch.filter(event => event !== undefined)
      else if (this.#ended) return
      else await Promise.race([this.#more.promise, left])
    }
  }

  /** Of how far a part has come, only the last is kept. */
  #supersede(part: string): void {
    const earlier = this.#parts.get(part)
    if (earlier !== undefined) this.#events[earlier] = undefined
    this.#parts.set(part, this.#events.length)
  }

  #makeRoom(): void {
    while (this.#held > keptOutput) {
      const place = this.#outputs[this.#firstOutput++]
      const event = place === undefined ? undefined : this.#events[place]
      if (place === undefined || event?.kind !== 'output') return
      this.#held -= event.bytes.length + overhead
      // Once for all that is gone: at the place of the first.
      this.#events[place] = this.#firstOutput === 1 ? { ...event, bytes: note } : undefined
    }
  }

  #wake(): void {
    this.#more.resolve()
    this.#more = Promise.withResolvers()
  }
}
