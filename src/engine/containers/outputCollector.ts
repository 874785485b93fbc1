import { Socket } from 'node:net'
import { socketPair } from '../../linux/descriptors.ts'
import type { RawClient } from './rawClient.ts'

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
    if (kept >= limit * 2) return
    chunks.push(Buffer.from(chunk))
    kept += chunk.length
  })
  const ended = new Promise<void>(resolve => {
    socket.once('close', () => resolve())
    socket.on('error', () => socket.destroy())
  })
  const client: RawClient = {
    fd: theirs,
    pending: Buffer.alloc(0),
    write: bytes => new Promise(resolve => closing.write(bytes, () => resolve())),
    end: () => void closing.end(),
    release: () => closing.destroy(),
    onGone: () => {},
  }
  return { client, text: async () => ended.then(() => unframed(Buffer.concat(chunks), limit)) }
}

const unframed = (bytes: Buffer, limit: number): string => {
  let out = ''
  for (let at = 0; at + 8 <= bytes.length && out.length < limit; ) {
    const length = bytes.readUInt32BE(at + 4)
    out += bytes.subarray(at + 8, at + 8 + length).toString('utf8')
    at += 8 + length
  }
  return out.slice(0, limit)
}
