import { randomBytes } from 'node:crypto'
import { deflateSync, gzipSync } from 'node:zlib'
import { badRequest } from '../../../core/errors.ts'
import { attributeOptions, attributesOf } from './attributes.ts'
import { splitHostPort } from './hostPort.ts'
import { tagOf } from './tag.ts'
import type { LogDriver, LogEntry, LogOptions, Target } from './types.ts'

/** The driver `gelf`: GELF 1.1, over UDP in chunks, or over TCP with a zero byte after each message. */
const quoted = JSON.stringify

const targetOf = (options: LogOptions): Extract<Target, { kind: 'udp' | 'tcp' }> => {
  const address = options['gelf-address'] ?? ''
  if (address === '') throw badRequest('gelf-address is a required parameter')
  const [, kind, rest = ''] = /^([a-z][a-z0-9+.-]*):\/\/([^/]*)/i.exec(address) ?? []
  if (kind !== 'udp' && kind !== 'tcp') throw badRequest('gelf: endpoint needs to be TCP or UDP')
  if (!/:\d*$/.test(rest)) throw badRequest('gelf: please provide gelf-address as proto://host:port')
  return { kind, ...splitHostPort(rest) }
}

const isInteger = (text: string, [least, most]: readonly [number, number]): boolean =>
  /^[+-]?\d+$/.test(text) && Number(text) >= least && Number(text) <= most

const checkOption = (key: string, value: string, kind: 'udp' | 'tcp'): void => {
  const unknown = badRequest(`unknown value ${quoted(value)} for log opt ${quoted(key)} for gelf log driver`)
  if (key === 'gelf-compression-level' || key === 'gelf-compression-type') {
    if (kind !== 'udp') throw badRequest('compression is only supported on UDP')
    const isKnown =
      key === 'gelf-compression-level' ? isInteger(value, [-1, 9]) : ['gzip', 'zlib', 'none'].includes(value)
    if (!isKnown) throw unknown
  } else if (key === 'gelf-tcp-max-reconnect' || key === 'gelf-tcp-reconnect-delay') {
    if (kind !== 'tcp') throw badRequest(`${quoted(key)} is only valid for TCP`)
    if (!isInteger(value, [0, Number.MAX_SAFE_INTEGER]))
      throw badRequest(`${quoted(key)} must be a positive integer`)
  } else if (key !== 'gelf-address' && !attributeOptions.includes(key))
    throw badRequest(`unknown log opt ${quoted(key)} for gelf log driver`)
}

/** Bytes of a datagram, of which the header of a chunk takes twelve. */
const datagram = 1420
const header = 12
const mostChunks = 128

/** A message as one datagram, or in chunks that tell their number and how many there are. Too long a one cannot be sent. */
const chunksOf = (message: Buffer): Buffer[] => {
  if (message.length <= datagram) return [message]
  const size = datagram - header
  const count = Math.ceil(message.length / size)
  if (count > mostChunks) return []
  const id = randomBytes(8)
  return Array.from({ length: count }, (_, index) =>
    Buffer.concat([
      Buffer.from([0x1e, 0x0f]),
      id,
      Buffer.from([index, count]),
      message.subarray(index * size, (index + 1) * size),
    ]),
  )
}

/** Gzip, the fastest way, unless another is asked for, as Docker does. */
const compressor = (options: LogOptions): ((message: Buffer) => Buffer) => {
  const level = Number(options['gelf-compression-level'] ?? 1)
  const type = options['gelf-compression-type'] ?? 'gzip'
  if (type === 'none') return message => message
  return message => (type === 'zlib' ? deflateSync(message, { level }) : gzipSync(message, { level }))
}

/** Seconds since the epoch, to the millisecond. */
const timestamp = (time: string): number => new Date(time).getTime() / 1000

export const gelf: LogDriver = {
  check: options => {
    const { kind } = targetOf(options)
    for (const [key, value] of Object.entries(options)) checkOption(key, value, kind)
  },
  open: (source, options) => {
    const target = targetOf(options)
    const fields = {
      _command: source.command,
      _container_id: source.id,
      _container_name: source.name,
      _created: source.created,
      _image_id: source.imageId,
      _image_name: source.imageName,
      _tag: tagOf(source, options),
      ...attributesOf(source, options, key => (key.startsWith('_') ? key : `_${key}`)),
    }
    const message = ({ text, stream, time }: LogEntry): Buffer =>
      Buffer.from(
        JSON.stringify({
          version: '1.1',
          host: source.hostname,
          short_message: text,
          timestamp: timestamp(time),
          level: stream === 'stderr' ? 3 : 6,
          ...fields,
        }),
      )
    const compress = compressor(options)
    const isTcp = target.kind === 'tcp'
    const encode = (entry: LogEntry): Buffer[] =>
      isTcp ? [Buffer.concat([message(entry), Buffer.alloc(1)])] : chunksOf(compress(message(entry)))
    return { target, encode: entry => (entry.text === '' ? [] : encode(entry)) }
  },
}
