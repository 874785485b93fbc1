import { Duplex } from 'node:stream'
import { create } from '@bufbuild/protobuf'
import { type BytesMessage, BytesMessageSchema } from '../../wire/buildkit/control_pb.ts'

/** A message stays well below what gRPC's clients take. Bytes. */
const pieceSize = 1024 * 1024

async function* pieces(outgoing: AsyncIterable<Buffer>, over: () => void): AsyncGenerator<BytesMessage> {
  try {
    for await (const bytes of outgoing)
      for (let at = 0; at < bytes.length; at += pieceSize)
        yield create(BytesMessageSchema, { data: bytes.subarray(at, at + pieceSize) })
  } finally {
    over()
  }
}

/** The next bytes; undefined at the end. */
const nextBytes = async (iterator: AsyncIterator<BytesMessage>): Promise<Buffer | undefined> => {
  for (;;) {
    const next = await iterator.next()
    if (next.done) return undefined
    if (next.value.data.length > 0) return Buffer.from(next.value.data)
  }
}

/** The queue between who writes a connection and who sends its messages: one piece, as a stream has a buffer itself. */
class Outgoing implements AsyncIterable<Buffer> {
  #piece: { bytes: Buffer; done: (error?: Error | null) => void } | undefined
  #ended = false
  #wake = (): void => {}

  put(bytes: Buffer, done: (error?: Error | null) => void): void {
    this.#piece = { bytes, done }
    this.#wake()
  }

  end(): void {
    this.#ended = true
    this.#wake()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    for (;;) {
      const piece = this.#piece
      this.#piece = undefined
      if (piece) {
        yield piece.bytes
        piece.done()
      } else if (this.#ended) return
      else await new Promise<void>(resolve => (this.#wake = resolve))
    }
  }
}

/**
 * A connection that comes as messages of a call (`Control.Session`), as a
 * stream of bytes: `outgoing` is what the call answers with.
 */
export const bytesDuplex = (
  incoming: AsyncIterable<BytesMessage>,
): { socket: Duplex; outgoing: AsyncIterable<BytesMessage> } => {
  const queue = new Outgoing()
  const iterator = incoming[Symbol.asyncIterator]()
  const socket = new Duplex({
    allowHalfOpen: false,
    read() {
      nextBytes(iterator).then(
        bytes => this.push(bytes ?? null),
        (error: unknown) => this.destroy(error as Error),
      )
    },
    write(bytes: Buffer, _encoding, done) {
      queue.put(bytes, done)
    },
    final(done) {
      queue.end()
      done()
    },
    destroy(error, done) {
      queue.end()
      done(error)
    },
  })
  return { socket, outgoing: pieces(queue, () => socket.destroy()) }
}
