import type { Readable } from 'node:stream'

/** Streams of bytes that travel as messages with a field `data`. */

interface BytesMessage {
  data: Uint8Array
}

/** A message stays well below the 4 MiB that gRPC's clients take. Bytes. */
const pieceSize = 1024 * 1024

/** Bytes cut to what one message carries. */
export function* pieces(bytes: Uint8Array, size = pieceSize): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

/** The bytes of messages, those without any left out. Ending the iteration ends the messages. Errors: theirs. */
export async function* bytesOf(messages: AsyncIterable<BytesMessage>): AsyncGenerator<Uint8Array> {
  for await (const { data } of messages) if (data.length > 0) yield data
}

/** What a stream's `read` does: gives it the next bytes, or the end. An error of the messages is the stream's. */
export const pushNext = (stream: Readable, bytes: AsyncIterator<Uint8Array>): void => {
  bytes.next().then(
    next => void stream.push(next.done ? null : Buffer.from(next.value)),
    (error: unknown) => void stream.destroy(error as Error),
  )
}
