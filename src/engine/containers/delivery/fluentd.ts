import { parseTime } from '../../../core/clock.ts'
import { badRequest, messageOf } from '../../../core/errors.ts'
import { readSize } from '../../../wire/sizes.ts'
import { parseDuration } from '../../../wire/timestamps.ts'
import { readTruth } from '../../../wire/truth.ts'
import { attributeOptions, attributesOf } from './attributes.ts'
import { type FluentdTarget, openFluentd } from './fluentdWire.ts'
import { packEventTime, packList, packMap, packNumber, packString } from './messagePack.ts'
import { tagOf } from './tag.ts'
import type { LogDriver, LogEntry, LogOptions, LogSource } from './types.ts'

/**
 * The driver `fluentd`: the forward protocol, version 1, in its forward mode,
 * which Fluentd and Fluent Bit take as they take single messages.
 */

const known = [
  ...['fluentd-address', 'fluentd-async', 'fluentd-async-reconnect-interval', 'fluentd-buffer-limit'],
  ...['fluentd-max-retries', 'fluentd-request-ack', 'fluentd-retry-wait', 'fluentd-sub-second-precision'],
  ...['fluentd-write-timeout', 'fluentd-read-timeout', ...attributeOptions],
]

const defaultHost = '127.0.0.1'
const defaultPort = 24_224

const invalidAddress = (address: string, why: string): Error =>
  badRequest(`invalid fluentd-address (${address}): ${why}`)

const addressOf = (options: LogOptions): FluentdTarget => {
  const given = options['fluentd-address'] ?? ''
  if (given === '') return { kind: 'tcp', host: defaultHost, port: defaultPort }
  const text = given.includes('://') ? given : `tcp://${given}`
  const [, scheme = '', rest = ''] = /^([^:/]*):\/\/(.*)$/s.exec(text) ?? []
  if (scheme === 'unix') {
    const path = rest.startsWith('/')
      ? rest
      : rest.slice(rest.indexOf('/') + 1 ? rest.indexOf('/') : rest.length)
    if (path.replace(/^\/+/, '') === '') throw invalidAddress(given, 'path is empty')
    return { kind: 'unix', path }
  }
  if (scheme !== 'tcp' && scheme !== 'tls') throw invalidAddress(given, `unsupported scheme: '${scheme}'`)
  if (rest.includes('/')) throw invalidAddress(given, 'should not contain a path element')
  const [, bracketed, plain, port = ''] = /^(?:\[([^\]]*)\]|([^:]*))(?::(.*))?$/.exec(rest) ?? []
  if (!/^\d*$/.test(port) || Number(port) > 65_535) throw invalidAddress(given, 'invalid port')
  const place = { host: (bracketed ?? plain) || defaultHost, port: port === '' ? defaultPort : Number(port) }
  if (scheme === 'tcp') return { kind: 'tcp', ...place }
  return { kind: 'tcp', ...place, tls: { ca: undefined, cert: undefined, key: undefined, verify: true } }
}

const truthOf = (options: LogOptions, key: string): boolean => {
  const text = options[key] ?? ''
  return text !== '' && readTruth(text)
}

/** Milliseconds; undefined where it is not given. */
const durationOf = (options: LogOptions, key: string): number | undefined => {
  const text = options[key] ?? ''
  if (text === '') return undefined
  const nanos = parseDuration(text.replace(/^-/, ''))
  if (nanos === undefined) throw badRequest(`invalid value for ${key}: value must be a duration`)
  return (text.startsWith('-') ? -1 : 1) * (Number(nanos) / 1e6)
}

const checkTimes = (options: LogOptions): void => {
  durationOf(options, 'fluentd-retry-wait')
  for (const key of ['fluentd-write-timeout', 'fluentd-read-timeout'])
    if ((durationOf(options, key) ?? 0) < 0)
      throw badRequest(`invalid value for ${key}: value must be a duration that is non-negative`)
  const key = 'fluentd-async-reconnect-interval'
  const interval = durationOf(options, key) ?? 0
  if (interval !== 0 && (interval < 100 || interval > 10_000))
    throw badRequest(`invalid value for ${key}: value ("${options[key]}") must be between 100ms and 10s`)
}

const checkNumbers = (options: LogOptions): void => {
  const limit = options['fluentd-buffer-limit'] ?? ''
  if (limit !== '') readSize(limit)
  const retries = options['fluentd-max-retries'] ?? ''
  if (retries === '') return
  if (!/^\d+$/.test(retries) || Number(retries) > 2 ** 32 - 1)
    throw badRequest(`strconv.ParseUint: parsing ${JSON.stringify(retries)}: invalid syntax`)
  if (Number(retries) > 2 ** 31 - 1) throw badRequest('invalid fluentd-max-retries: value out of range')
}

const recordOf = (source: LogSource, extra: Record<string, Buffer>, entry: LogEntry): Buffer => {
  const { partial } = entry
  return packMap({
    container_id: packString(source.id),
    container_name: packString(`/${source.name}`),
    source: packString(entry.stream),
    log: packString(entry.text),
    ...extra,
    ...(partial
      ? {
          partial_message: packString('true'),
          partial_id: packString(partial.id),
          partial_ordinal: packString(String(partial.ordinal)),
          partial_last: packString(String(partial.last)),
        }
      : {}),
  })
}

/** Milliseconds that an acknowledgement may take where nobody says how long. */
const patience = 60_000

export const fluentd: LogDriver = {
  check: options => {
    for (const key of Object.keys(options))
      if (!known.includes(key)) throw badRequest(`unknown log opt '${key}' for fluentd log driver`)
    try {
      addressOf(options)
      for (const key of ['fluentd-async', 'fluentd-sub-second-precision', 'fluentd-request-ack'])
        truthOf(options, key)
      checkNumbers(options)
      checkTimes(options)
    } catch (error) {
      throw badRequest(messageOf(error), error)
    }
  },
  open: (source, options) => {
    const address = addressOf(options)
    const tag = tagOf(source, options)
    const acknowledged = truthOf(options, 'fluentd-request-ack')
    const precise = truthOf(options, 'fluentd-sub-second-precision')
    const timeout = durationOf(options, 'fluentd-read-timeout') || patience
    const extra = Object.fromEntries(
      Object.entries(attributesOf(source, options)).map(([key, value]) => [key, packString(value)]),
    )
    const timeOf = (text: string): Buffer => {
      const nanos = parseTime(text) ?? 0n
      return precise ? packEventTime(nanos) : packNumber(Number(nanos / 1_000_000_000n))
    }
    return {
      target: {
        kind: 'own',
        open: wire => openFluentd(address, { tag, acknowledged, timeout }, wire),
      },
      encode: entry => [packList([timeOf(entry.time), recordOf(source, extra, entry)])],
    }
  },
}
