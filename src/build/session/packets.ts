import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import { BerthError } from '../../core/errors.ts'
import type { Packet as WirePacket, Stat as WireStat } from '../../wire/buildkit/fsutil_pb.ts'

/**
 * fsutil's packets read and written field by field, as fsutil.proto has them. The worker that receives contexts takes
 * one for each file and piece: read by what describes messages, a packet takes several times as long, and the
 * descriptions take more memory than the rest of the worker.
 */

/** Packet.PacketType of fsutil.proto. */
export const packetTypes = { stat: 0, request: 1, data: 2, fin: 3, error: 4 } as const

export type Stat = Omit<WireStat, '$typeName' | '$unknown'>

export type Packet = Omit<WirePacket, '$typeName' | '$unknown' | 'type' | 'stat'> & {
  type: number
  stat?: Stat | undefined
}

const none = new Uint8Array()

/** What a receiver says. */
export const packet = (type: number, { id = 0, data = none }: Partial<Packet> = {}): Packet => ({
  type,
  id,
  data,
})

type FieldReader<T> = (message: T, reader: BinaryReader, type: WireType) => void

type Fields<T> = { readonly [number: number]: { type: WireType; read: FieldReader<T> } }

const varint = <T>(read: FieldReader<T>) => ({ type: WireType.Varint, read })
const delimited = <T>(read: FieldReader<T>) => ({ type: WireType.LengthDelimited, read })

const readInto = <T>(message: T, bytes: Uint8Array, fields: Fields<T>): T => {
  const reader = new BinaryReader(bytes)
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag()
    const field = fields[number]
    if (field?.type === type) field.read(message, reader, type)
    else reader.skip(type, number)
  }
  return message
}

const xattrFields: Fields<{ key: string; value: Uint8Array }> = {
  1: delimited((entry, reader) => (entry.key = reader.string(true))),
  2: delimited((entry, reader) => (entry.value = reader.bytes())),
}

const statFields: Fields<Stat> = {
  1: delimited((stat, reader) => (stat.path = reader.bytes())),
  2: varint((stat, reader) => (stat.mode = reader.uint32())),
  3: varint((stat, reader) => (stat.uid = reader.uint32())),
  4: varint((stat, reader) => (stat.gid = reader.uint32())),
  5: varint((stat, reader) => (stat.size = BigInt(reader.int64()))),
  6: varint((stat, reader) => (stat.modTime = BigInt(reader.int64()))),
  7: delimited((stat, reader) => (stat.linkname = reader.bytes())),
  8: varint((stat, reader) => (stat.devmajor = BigInt(reader.int64()))),
  9: varint((stat, reader) => (stat.devminor = BigInt(reader.int64()))),
  10: delimited((stat, reader) => {
    const { key, value } = readInto({ key: '', value: none }, reader.bytes(), xattrFields)
    stat.xattrs[key] = value
  }),
}

const emptyStat = (): Stat => ({
  ...{ path: none, linkname: none },
  ...{ mode: 0, uid: 0, gid: 0 },
  ...{ size: 0n, modTime: 0n, devmajor: 0n, devminor: 0n },
  // A name may be any, `__proto__` too.
  xattrs: Object.create(null),
})

const packetFields: Fields<Packet> = {
  1: varint((packet, reader) => (packet.type = reader.int32())),
  2: delimited(
    (packet, reader) => (packet.stat = readInto(packet.stat ?? emptyStat(), reader.bytes(), statFields)),
  ),
  3: varint((packet, reader) => (packet.id = reader.uint32())),
  4: delimited((packet, reader) => (packet.data = reader.bytes())),
}

/** What it gives shares memory with what it is given. Errors: `bad-message`. */
export const readPacket = (bytes: Uint8Array): Packet => {
  try {
    return readInto(packet(packetTypes.stat), bytes, packetFields)
  } catch (error) {
    throw new BerthError('bad-message', 400, `the client sent what is no packet of files: ${error}`, {
      cause: error,
    })
  }
}

/** One without an entry: no receiver sends those. */
export const writePacket = ({ type, id, data }: Packet): Uint8Array => {
  const writer = new BinaryWriter()
  if (type !== 0) writer.tag(1, WireType.Varint).int32(type)
  if (id !== 0) writer.tag(3, WireType.Varint).uint32(id)
  if (data.length > 0) writer.tag(4, WireType.LengthDelimited).bytes(data)
  return writer.finish()
}
