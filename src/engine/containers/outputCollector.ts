import { Socket } from 'node:net'
import { socketPair } from '../../linux/descriptors.ts'
import type { RawClient } from './rawClient.ts'

/** Each frame has 8 bytes of its own, so that this much holds the limit and more in frames of a byte each. */
const roomForFrames = 10

/**
 * A client within the daemon: what the monitor writes to it is gathered up to a
 * bound, frames taken off, the rest read and dropped so that nobody waits.
 */
export const outputCollector = (limit: number): { client: RawClient; text(): Promise<string> } => {
  const [mine, theirs] = socketPair()
  const socket = new Socket({ fd: mine, readable: true, writable: false })
  const closing = new Socket({ fd: theirs, readable: false, writable: true })
  const chunks: Buffer[] = []
  let kept = 0
  socket.on('data', chunk => {
    if (kept >= limit * roomForFrames) return
    chunks.push(Buffer.from(chunk))
    kept += chunk.length
  })
  const ended = new Promise<void>(resolve => {
    socket.once('close', () => resolve())
    socket.on('error', () => socket.destroy())
  })
  const client: RawClient = {
    fd: theirs,
    // Its end is seen.
    isGone: false,
    pending: Buffer.alloc(0),
    write: bytes => new Promise(resolve => closing.write(bytes, () => resolve())),
    end: () => void closing.end(),
    release: () => closing.destroy(),
    onGone: () => {},
  }
  return { client, text: async () => ended.then(() => unframed(Buffer.concat(chunks), limit)) }
}

/** What was left out is told by three dots. */
const unframed = (bytes: Buffer, limit: number): string => {
  const parts: Buffer[] = []
  let length = 0
  for (let at = 0; at + 8 <= bytes.length && length <= limit; ) {
    const size = bytes.readUInt32BE(at + 4)
    const part = bytes.subarray(at + 8, at + 8 + size)
    parts.push(part)
    length += part.length
    at += 8 + size
  }
  const whole = Buffer.concat(parts)
  return length > limit ? `${whole.toString('utf8', 0, limit)}...` : whole.toString('utf8')
}
