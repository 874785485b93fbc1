import type { FileHandle } from 'node:fs/promises'

/** A log as BuildKit keeps it (`application/vnd.buildkit.status.v0`): messages, each behind its length, a little-endian uint32. */

export const logType = 'application/vnd.buildkit.status.v0'

/** No message of ours is as long; a length beyond it is a file that was cut or overwritten. */
const mostOfMessage = 16 << 20

export const frameOf = (message: Uint8Array): Buffer => {
  const length = Buffer.alloc(4)
  length.writeUInt32LE(message.length)
  return Buffer.concat([length, message])
}

/** Messages of bytes that come in any pieces; one that is not whole at the end is left out. */
export async function* messagesOf(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const piece of pieces) {
    rest = rest.length === 0 ? Buffer.from(piece) : Buffer.concat([rest, piece])
    let at = 0
    while (rest.length - at >= 4) {
      const length = rest.readUInt32LE(at)
      if (length > mostOfMessage) return
      if (rest.length - at - 4 < length) break
      yield rest.subarray(at + 4, at + 4 + length)
      at += 4 + length
    }
    rest = rest.subarray(at)
  }
}

const pieceSize = 64 << 10

/** A part of an open file. */
export async function* partOf(
  file: FileHandle,
  { start, size }: { start: number; size: number },
): AsyncGenerator<Buffer> {
  for (let at = start; at < start + size; ) {
    const buffer = Buffer.allocUnsafe(Math.min(pieceSize, start + size - at))
    const { bytesRead } = await file.read(buffer, 0, buffer.length, at)
    if (bytesRead === 0) return
    yield buffer.subarray(0, bytesRead)
    at += bytesRead
  }
}
