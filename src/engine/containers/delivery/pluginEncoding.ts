import { parseTime } from '../../../core/clock.ts'
import type { Engine } from '../../engine.ts'
import { commandOf } from '../describe.ts'
import type { ContainerRecord } from '../types.ts'
import { openSession } from './pluginSessions.ts'
import { sourceOf } from './source.ts'
import type { Encoding, LogEntry } from './types.ts'

/** Log plugins: each entry is a `LogEntry` of protobuf behind its length, written into a FIFO. */

const varint = (value: bigint): Buffer => {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, value)
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80)
  return Buffer.from([...bytes, Number(rest)])
}

/** A field's number and its wire type: 0 for a number, 2 for bytes. */
const number = (field: number, value: bigint): Buffer =>
  value === 0n ? Buffer.alloc(0) : Buffer.concat([varint(BigInt(field << 3)), varint(value)])

const bytes = (field: number, value: Buffer): Buffer =>
  Buffer.concat([varint(BigInt((field << 3) | 2)), varint(BigInt(value.length)), value])

const partOf = ({ id, ordinal, last }: NonNullable<LogEntry['partial']>): Buffer =>
  Buffer.concat([number(1, last ? 1n : 0n), bytes(2, Buffer.from(id)), number(3, BigInt(ordinal))])

/** One entry as plugins read it: four bytes of length, then the message. */
export const encodeEntry = ({ text, stream, time, partial }: LogEntry): Buffer => {
  const message = Buffer.concat([
    bytes(1, Buffer.from(stream)),
    number(2, parseTime(time) ?? 0n),
    bytes(3, Buffer.from(text)),
    ...(partial ? [number(4, 1n), bytes(5, partOf(partial))] : []),
  ])
  const length = Buffer.alloc(4)
  length.writeUInt32BE(message.length)
  return Buffer.concat([length, message])
}

/** What a plugin is told of a container, by Docker's names. */
const infoOf = (record: ContainerRecord): object => {
  const source = sourceOf(record)
  const [program = '', ...args] = commandOf(record)
  return {
    Config: record.hostConfig.LogConfig?.Config ?? {},
    ContainerID: source.id,
    ContainerName: `/${source.name}`,
    ContainerEntrypoint: program,
    ContainerArgs: args,
    ContainerImageID: source.imageId,
    ContainerImageName: source.imageName,
    ContainerCreated: source.created,
    ContainerEnv: source.env,
    ContainerLabels: source.labels,
    LogPath: '',
    DaemonName: 'docker',
  }
}

export const pluginEncoding = (engine: Engine, record: ContainerRecord, driver: string): Encoding => ({
  target: {
    kind: 'own',
    open: options => openSession(engine, { driver, id: record.id, info: infoOf(record) }, options),
  },
  encode: entry => [encodeEntry(entry)],
})
