import { internal } from '../core/errors.ts'

/**
 * The frames between a daemon and its monitors and holder, as monitor/README.md
 * has them: u32 length of the payload, u16 type, u16 tag, payload; little-endian.
 */

export const protocolMin = 1
export const protocolMax = 4

export const requestType = {
  hello: 0x01,
  start: 0x02,
  attach: 0x03,
  wait: 0x04,
  removed: 0x05,
  resize: 0x06,
  closeStdin: 0x07,
  rotate: 0x08,
  release: 0x09,
  nop: 0x0a,
  status: 0x0b,
  say: 0x0c,
  fork: 0x0d,
  put: 0x21,
  take: 0x22,
  list: 0x23,
  drop: 0x24,
  dropPrefix: 0x25,
  leaving: 0x26,
} as const

export const replyType = {
  hello: 0x81,
  status: 0x82,
  ok: 0x83,
  error: 0x84,
  started: 0x85,
  exited: 0x86,
  oom: 0x87,
  clientGone: 0x88,
  rotated: 0x89,
  ended: 0x8a,
  logGrown: 0x8b,
  item: 0xa1,
} as const

export interface Frame {
  type: number
  /** The request's tag in its answer; 0 for an event. */
  tag: number
  payload: Buffer
}

const headerSize = 8
/** A monitor never sends more in one frame. */
const payloadMax = 32768

export const encodeFrame = (frame: { type: number; tag: number; payload?: Uint8Array }): Buffer => {
  const payload = frame.payload ?? new Uint8Array()
  const bytes = Buffer.alloc(headerSize + payload.length)
  bytes.writeUInt32LE(payload.length, 0)
  bytes.writeUInt16LE(frame.type, 4)
  bytes.writeUInt16LE(frame.tag, 6)
  bytes.set(payload, headerSize)
  return bytes
}

/** Cuts a stream into frames. Throws on bytes that cannot be one; it is then of no more use. */
export class FrameDecoder {
  #rest: Buffer = Buffer.alloc(0)

  push(chunk: Uint8Array): Frame[] {
    let bytes: Buffer = this.#rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#rest, chunk])
    const frames: Frame[] = []
    while (bytes.length >= headerSize) {
      const length = bytes.readUInt32LE(0)
      if (length > payloadMax)
        throw internal(`a monitor sent a frame of ${length} bytes; at most ${payloadMax} are allowed`)
      if (bytes.length < headerSize + length) break
      const payload = bytes.subarray(headerSize, headerSize + length)
      frames.push({ type: bytes.readUInt16LE(4), tag: bytes.readUInt16LE(6), payload })
      bytes = bytes.subarray(headerSize + length)
    }
    this.#rest = bytes
    return frames
  }
}

export const encodeHello = (): Buffer => {
  const payload = Buffer.alloc(4)
  payload.writeUInt16LE(protocolMin, 0)
  payload.writeUInt16LE(protocolMax, 2)
  return encodeFrame({ type: requestType.hello, tag: 0, payload })
}

export interface Hello {
  /** The version both sides speak. */
  version: number
  pid: number
  /** The monitor's container or exec id; empty for a holder. */
  id: string
}

/** Throws where no version is common to both. */
export const decodeHello = (payload: Buffer): Hello => {
  if (payload.length < 8) throw internal('a monitor sent a hello that is too short')
  const min = payload.readUInt16LE(0)
  const max = payload.readUInt16LE(2)
  const version = Math.min(max, protocolMax)
  if (version < min || version < protocolMin)
    throw internal(
      `the monitor with pid ${payload.readUInt32LE(4)} speaks protocol ${min} to ${max}, this daemon ${protocolMin} to ${protocolMax}: use a daemon of its version until its container has ended`,
    )
  return { version, pid: payload.readUInt32LE(4), id: payload.toString('utf8', 8) }
}
