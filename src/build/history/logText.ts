import type { Timestamp } from '@bufbuild/protobuf/wkt'
import type { StatusResponse, Vertex } from '../../wire/buildkit/control_pb.ts'

/** A build's log for people: as `docker build --progress=plain` shows it. */

interface Shown {
  number: number
  isOver: boolean
  /** What is not a whole line yet, by stream. */
  rest: Map<bigint, Buffer>
}

const seconds = (start: Timestamp | undefined, end: Timestamp): string => {
  if (!start) return '0.0s'
  const passed = Number(end.seconds - start.seconds) + (end.nanos - start.nanos) / 1e9
  return `${Math.max(0, passed).toFixed(1)}s`
}

const endOf = ({ cached, error, started, completed }: Vertex): string | undefined => {
  if (error !== '') return `ERROR: ${error}`
  if (!completed) return undefined
  return cached ? 'CACHED' : `DONE ${seconds(started, completed)}`
}

const newline = 0x0a

class LogText {
  readonly #steps = new Map<string, Shown>();

  *#open(digest: string, name: string): Generator<string, Shown> {
    const known = this.#steps.get(digest)
    if (known) return known
    const shown: Shown = { number: this.#steps.size + 1, isOver: false, rest: new Map() }
    this.#steps.set(digest, shown)
    yield `#${shown.number} ${name}\n`
    return shown
  }

  *#flush({ number, rest }: Shown): Generator<string> {
    for (const bytes of rest.values()) if (bytes.length > 0) yield `#${number} ${bytes}\n`
    rest.clear()
  }

  *began({ digest, name, started }: Vertex): Generator<string> {
    if (started) yield* this.#open(digest, name)
  }

  *ended(vertex: Vertex): Generator<string> {
    const end = endOf(vertex)
    if (end === undefined) return
    const shown = yield* this.#open(vertex.digest, vertex.name)
    if (shown.isOver) return
    shown.isOver = true
    yield* this.#flush(shown)
    yield `#${shown.number} ${end}\n\n`
  }

  *output(digest: string, stream: bigint, bytes: Uint8Array): Generator<string> {
    const shown = yield* this.#open(digest, digest)
    let rest = Buffer.concat([shown.rest.get(stream) ?? Buffer.alloc(0), bytes])
    for (let end = rest.indexOf(newline); end >= 0; end = rest.indexOf(newline)) {
      yield `#${shown.number} ${rest.subarray(0, end)}\n`
      rest = rest.subarray(end + 1)
    }
    shown.rest.set(stream, rest)
  }

  *end(): Generator<string> {
    for (const shown of this.#steps.values()) yield* this.#flush(shown)
  }
}

/** Of messages of `Control.Status`. */
export async function* logText(messages: AsyncIterable<StatusResponse>): AsyncGenerator<string> {
  const text = new LogText()
  for await (const { vertexes, logs, warnings } of messages) {
    const waiting = Map.groupBy(logs, ({ vertex }) => vertex)
    for (const vertex of vertexes) {
      yield* text.began(vertex)
      if (!vertex.completed) continue
      for (const { stream, msg } of waiting.get(vertex.digest) ?? [])
        yield* text.output(vertex.digest, stream, msg)
      waiting.delete(vertex.digest)
      yield* text.ended(vertex)
    }
    for (const { vertex, stream, msg } of logs)
      if (waiting.has(vertex)) yield* text.output(vertex, stream, msg)
    for (const { short } of warnings) yield `WARN: ${Buffer.from(short)}\n`
  }
  yield* text.end()
}
