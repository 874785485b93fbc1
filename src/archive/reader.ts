import { TarParser } from './parser.ts'
import type { TarEntry } from './types.ts'

/** One member as `readTar` gives it. */
export interface TarMember {
  entry: TarEntry
  /**
   * The content, holes as zeros. To be read before the next member is asked
   * for; what is left unread is passed over. Can be read once.
   */
  body: AsyncIterable<Buffer>
}

type Step =
  | { kind: 'entry'; entry: TarEntry }
  | { kind: 'data'; chunk: Buffer; offset: number }
  | { kind: 'close' }

const HOLE = Buffer.alloc(65536)

const asBuffer = (chunk: Uint8Array): Buffer =>
  Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)

/** A parser's calls as a pulled sequence: at most one source chunk's steps are held. */
class StepReader {
  readonly #source: AsyncIterator<Uint8Array>
  #steps: Step[] = []
  #next = 0
  #finished = false
  readonly #parser = new TarParser({
    entry: entry => this.#steps.push({ kind: 'entry', entry }),
    data: (chunk, offset) => this.#steps.push({ kind: 'data', chunk, offset }),
    close: () => this.#steps.push({ kind: 'close' }),
  })

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]()
  }

  async next(): Promise<Step | undefined> {
    while (this.#next === this.#steps.length) {
      if (this.#finished) return undefined
      await this.#fill()
    }
    return this.#steps[this.#next++]
  }

  async #fill(): Promise<void> {
    this.#steps = []
    this.#next = 0
    const { value, done } = await this.#source.next()
    if (done) {
      this.#finished = true
      this.#parser.end()
      return
    }
    const chunk = asBuffer(value)
    // Bodies are cut from the source's own chunk, so a step's bytes stay valid.
    for (let at = 0; at < chunk.length; at += 65536) this.#parser.write(chunk.subarray(at, at + 65536))
  }

  /** Ends the source early. */
  async stop(): Promise<void> {
    if (!this.#finished) await this.#source.return?.()
  }
}

async function* zeros(count: number): AsyncGenerator<Buffer> {
  for (let left = count; left > 0; left -= HOLE.length) yield HOLE.subarray(0, Math.min(left, HOLE.length))
}

const bodyOf = (reader: StepReader, entry: TarEntry, state: { open: boolean }): AsyncIterable<Buffer> => ({
  async *[Symbol.asyncIterator]() {
    let position = 0
    while (state.open) {
      const step = await reader.next()
      if (step?.kind !== 'data') {
        state.open = false
        break
      }
      yield* zeros(step.offset - position)
      yield step.chunk
      position = step.offset + step.chunk.length
    }
    yield* zeros(entry.size - position)
  },
})

/**
 * Reads an uncompressed tar archive member by member, with back-pressure: no
 * more than one chunk of the source is held. Errors: `bad-request`, and what
 * the source throws. Ending the iteration ends the source; otherwise the
 * source is read to its end, so that a digest taken on the way is whole.
 */
export async function* readTar(source: AsyncIterable<Uint8Array>): AsyncGenerator<TarMember> {
  const reader = new StepReader(source)
  try {
    for (let step = await reader.next(); step; step = await reader.next()) {
      if (step.kind !== 'entry') continue
      const state = { open: true }
      yield { entry: step.entry, body: bodyOf(reader, step.entry, state) }
      while (state.open) state.open = (await reader.next())?.kind === 'data'
    }
  } finally {
    await reader.stop()
  }
}
