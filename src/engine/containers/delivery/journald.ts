import { randomBytes } from 'node:crypto'
import { statSync } from 'node:fs'
import { badRequest } from '../../../core/errors.ts'
import { attributeOptions, attributesOf } from './attributes.ts'
import { tagOf } from './tag.ts'
import type { LogDriver, LogEntry } from './types.ts'

/** The driver `journald`: systemd's native protocol, a datagram for each entry (systemd.io/JOURNAL_NATIVE_PROTOCOL). */

export const journalSocket = '/run/systemd/journal/socket'

const hasJournal = (): boolean => {
  try {
    return statSync(journalSocket).isSocket()
  } catch {
    return false
  }
}

/** A field's name as the journal takes it: capitals, digits and underscores, of which none comes first. */
export const journalKey = (key: string): string =>
  key
    .toUpperCase()
    .replace(/[^A-Z0-9]/g, '_')
    .replace(/^_+/, '')

/** `NAME=value`, or with a line break in it the name, its length and the value. */
const field = (name: string, value: string): Buffer => {
  if (!value.includes('\n')) return Buffer.from(`${name}=${value}\n`)
  const bytes = Buffer.from(value)
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(bytes.length))
  return Buffer.concat([Buffer.from(`${name}\n`), length, bytes, Buffer.from('\n')])
}

const fields = (values: Record<string, string>): Buffer =>
  Buffer.concat(Object.entries(values).map(([name, value]) => field(name, value)))

const partFields = ({ partial }: LogEntry): Record<string, string> =>
  partial
    ? {
        CONTAINER_PARTIAL_ID: partial.id,
        CONTAINER_PARTIAL_ORDINAL: String(partial.ordinal),
        CONTAINER_PARTIAL_LAST: String(partial.last),
        ...(partial.last ? {} : { CONTAINER_PARTIAL_MESSAGE: 'true' }),
      }
    : {}

export const journald: LogDriver = {
  check: options => {
    for (const key of Object.keys(options))
      if (!attributeOptions.includes(key))
        throw badRequest(`unknown log opt '${key}' for journald log driver`)
    if (!hasJournal()) throw badRequest('journald is not enabled on this host')
  },
  open: (source, options) => {
    const tag = tagOf(source, options)
    const same = fields({
      CONTAINER_ID: source.id.slice(0, 12),
      CONTAINER_ID_FULL: source.id,
      CONTAINER_NAME: source.name,
      CONTAINER_TAG: tag,
      IMAGE_NAME: source.imageName,
      SYSLOG_IDENTIFIER: tag,
      CONTAINER_LOG_EPOCH: randomBytes(32).toString('hex'),
      ...attributesOf(source, options, journalKey),
    })
    let ordinal = 0
    return {
      target: { kind: 'unixgram', path: journalSocket },
      encode: entry => [
        Buffer.concat([
          fields({
            PRIORITY: entry.stream === 'stderr' ? '3' : '6',
            MESSAGE: entry.text,
            SYSLOG_TIMESTAMP: entry.time,
            CONTAINER_LOG_ORDINAL: String(++ordinal),
            ...partFields(entry),
          }),
          same,
        ]),
      ],
    }
  },
}
