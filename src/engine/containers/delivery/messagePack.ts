import { internal } from '../../../core/errors.ts'

/** What Fluentd's forward protocol needs of MessagePack (its specification, section "Formats"). */

const head = (code: number, bytes: number, value: number): Buffer => {
  const buffer = Buffer.alloc(1 + bytes)
  buffer[0] = code
  buffer.writeUIntBE(value, 1, bytes)
  return buffer
}

export const packString = (text: string): Buffer => {
  const bytes = Buffer.from(text)
  const { length } = bytes
  if (length < 32) return Buffer.concat([Buffer.from([0xa0 | length]), bytes])
  if (length < 0x100) return Buffer.concat([head(0xd9, 1, length), bytes])
  if (length < 0x1_0000) return Buffer.concat([head(0xda, 2, length), bytes])
  return Buffer.concat([head(0xdb, 4, length), bytes])
}

/** Not negative, at most 32 bits; times are seconds since the epoch. */
export const packNumber = (value: number): Buffer => {
  if (value < 0x80) return Buffer.from([value])
  if (value < 0x100) return head(0xcc, 1, value)
  if (value < 0x1_0000) return head(0xcd, 2, value)
  return head(0xce, 4, value)
}

/** Fluentd's EventTime: extension type 0 with seconds and nanoseconds. */
export const packEventTime = (nanos: bigint): Buffer => {
  const buffer = Buffer.alloc(10)
  buffer.writeUInt16BE(0xd700, 0)
  buffer.writeUInt32BE(Number(nanos / 1_000_000_000n), 2)
  buffer.writeUInt32BE(Number(nanos % 1_000_000_000n), 6)
  return buffer
}

export const packMap = (entries: Readonly<Record<string, Buffer>>): Buffer => {
  const pairs = Object.entries(entries)
  const begin = pairs.length < 16 ? Buffer.from([0x80 | pairs.length]) : head(0xde, 2, pairs.length)
  return Buffer.concat([begin, ...pairs.flatMap(([key, value]) => [packString(key), value])])
}

export const packList = (items: readonly Buffer[]): Buffer => {
  const { length } = items
  const begin =
    length < 16
      ? Buffer.from([0x90 | length])
      : length < 0x1_0000
        ? head(0xdc, 2, length)
        : head(0xdd, 4, length)
  return Buffer.concat([begin, ...items])
}

/** A string or bytes at a place, and what follows; undefined where it is not whole, or none. */
const stringAt = (bytes: Buffer, at: number): { text: string; next: number } | undefined => {
  const code = bytes[at]
  if (code === undefined) return undefined
  const isShort = code >= 0xa0 && code < 0xc0
  const width = isShort ? 0 : code === 0xd9 || code === 0xc4 ? 1 : code === 0xda || code === 0xc5 ? 2 : -1
  if (width < 0 || at + 1 + width > bytes.length) return undefined
  const length = isShort ? code & 0x1f : bytes.readUIntBE(at + 1, width)
  const from = at + 1 + width
  if (from + length > bytes.length) return undefined
  return { text: bytes.toString('utf8', from, from + length), next: from + length }
}

/** `{"ack": "<chunk>"}` at the beginning of what came; undefined where more is to come. Errors: for what is no such answer. */
export const readAck = (bytes: Buffer): { chunk: string; rest: Buffer } | undefined => {
  if (bytes.length === 0) return undefined
  if (bytes[0] !== 0x81) throw internal('the answer of the forward protocol is no map of one entry')
  const key = stringAt(bytes, 1)
  const value = key && stringAt(bytes, key.next)
  if (!key || !value) return undefined
  if (key.text !== 'ack') throw internal(`the answer of the forward protocol has ${key.text} in place of ack`)
  return { chunk: value.text, rest: bytes.subarray(value.next) }
}
