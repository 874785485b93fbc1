import { Duplex } from 'node:stream'
import { create } from '@bufbuild/protobuf'
import { type BytesMessage, BytesMessageSchema } from '../../wire/buildkit/control_pb.ts'
import { bytesOf, pieces, pushNext } from './messageBytes.ts'

async function* messagesOf(outgoing: AsyncIterable<Buffer>, over: () => void): AsyncGenerator<BytesMessage> {
  try {
    for await (const bytes of outgoing)
      for (const data of pieces(bytes)) yield create(BytesMessageSchema, { data })
  } finally {
    over()
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
  const bytes = bytesOf(incoming)
  const socket = new Duplex({
    allowHalfOpen: false,
    read() {
      pushNext(this, bytes)
    },
    write(written: Buffer, _encoding, done) {
      queue.put(written, done)
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
  return { socket, outgoing: messagesOf(queue, () => socket.destroy()) }
}
