import { statSync } from 'node:fs'
import { badRequest, messageOf } from '../../../core/errors.ts'
import { attributeOptions } from './attributes.ts'
import { splitHostPort } from './hostPort.ts'
import { tagOf } from './tag.ts'
import type { LogDriver, LogEntry, LogOptions, Target } from './types.ts'

/** The driver `syslog`: RFC 3164 and RFC 5424, over datagrams, streams and TLS. */
const facilities = [
  ...['kern', 'user', 'mail', 'daemon', 'auth', 'syslog', 'lpr', 'news', 'uucp', 'cron', 'authpriv', 'ftp'],
  ...['', '', '', '', 'local0', 'local1', 'local2', 'local3', 'local4', 'local5', 'local6', 'local7'],
]
const formats = ['', 'rfc3164', 'rfc5424', 'rfc5424micro'] as const
type Format = (typeof formats)[number]

const known = [
  ...['syslog-address', 'syslog-facility', 'syslog-tls-ca-cert', 'syslog-tls-cert', 'syslog-tls-key'],
  ...['syslog-tls-skip-verify', 'syslog-format', ...attributeOptions],
]

const facilityOf = (text = ''): number => {
  if (text === '') return facilities.indexOf('daemon')
  const number = facilities.includes(text) ? facilities.indexOf(text) : /^\d+$/.test(text) ? Number(text) : -1
  if (number < 0 || number > 23) throw badRequest('invalid syslog facility')
  return number
}

const formatOf = (text = ''): Format => {
  const format = formats.find(each => each === text)
  if (format === undefined) throw badRequest('Invalid syslog format')
  return format
}

const schemeForm = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/i

const targetOf = (options: LogOptions): Target => {
  const address = options['syslog-address'] ?? ''
  if (address === '') return { kind: 'local-syslog' }
  const [, scheme = '', rest = ''] = schemeForm.exec(address) ?? []
  if (scheme === 'unix' || scheme === 'unixgram') return { kind: scheme, path: rest }
  if (scheme !== 'udp' && scheme !== 'tcp' && scheme !== 'tcp+tls')
    throw badRequest(`unsupported scheme: '${scheme}'`)
  const { host, port } = splitHostPort(rest.replace(/\/.*$/, ''), '514')
  if (scheme !== 'tcp+tls') return { kind: scheme, host, port }
  const tls = {
    ca: options['syslog-tls-ca-cert'],
    cert: options['syslog-tls-cert'],
    key: options['syslog-tls-key'],
    verify: options['syslog-tls-skip-verify'] === undefined,
  }
  return { kind: 'tcp', host, port, tls }
}

const checkSocket = (path: string): void => {
  try {
    statSync(path)
  } catch (error) {
    throw badRequest(`stat ${path}: no such file or directory`, messageOf(error))
  }
}

const two = (number: number): string => String(number).padStart(2, '0')
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/** `Jan  2 15:04:05`, of the host's time zone. */
const stamp = (time: Date): string =>
  `${months[time.getMonth()]} ${String(time.getDate()).padStart(2)} ${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`

const zone = (time: Date): string => {
  const minutes = -time.getTimezoneOffset()
  if (minutes === 0) return 'Z'
  const size = Math.abs(minutes)
  return `${minutes < 0 ? '-' : '+'}${two(Math.floor(size / 60))}:${two(size % 60)}`
}

/** RFC 3339 of the host's time zone; `fraction` has the dot, or is empty. */
const isoStamp = (time: Date, fraction: string): string =>
  `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}T${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}${fraction}${zone(time)}`

const microseconds = (time: string): string =>
  `.${(/\.(\d+)/.exec(time)?.[1] ?? '').padEnd(6, '0').slice(0, 6)}`

interface Header {
  format: Format
  facility: number
  hostname: string
  tag: string
}

/** The time is that at which the container wrote it, however late it is delivered. */
const lineOf = ({ format, facility, hostname, tag }: Header, { stream, text, time }: LogEntry): string => {
  const priority = facility * 8 + (stream === 'stderr' ? 3 : 6)
  const date = new Date(time)
  const { pid } = process
  if (format === '') return `<${priority}>${stamp(date)} ${tag}[${pid}]: ${text}\n`
  if (format === 'rfc3164') return `<${priority}>${stamp(date)} ${hostname} ${tag}[${pid}]: ${text}\n`
  const when = isoStamp(date, format === 'rfc5424micro' ? microseconds(time) : '')
  return `<${priority}>1 ${when} ${hostname} ${tag} ${pid} ${tag} - ${text}\n`
}

export const syslog: LogDriver = {
  check: options => {
    for (const key of Object.keys(options))
      if (!known.includes(key)) throw badRequest(`unknown log opt '${key}' for syslog log driver`)
    const target = targetOf(options)
    if (target.kind === 'unix' || target.kind === 'unixgram') checkSocket(target.path)
    facilityOf(options['syslog-facility'])
    formatOf(options['syslog-format'])
  },
  open: (source, options) => {
    const target = targetOf(options)
    const header: Header = {
      format: formatOf(options['syslog-format']),
      facility: facilityOf(options['syslog-facility']),
      hostname: source.hostname,
      tag: tagOf(source, options),
    }
    // RFC 5425 counts a message's bytes before it.
    const isCounted = target.kind === 'tcp' && target.tls !== undefined && header.format.startsWith('rfc5424')
    return {
      target,
      encode: entry => {
        if (entry.text === '') return []
        const line = Buffer.from(lineOf(header, entry))
        return [isCounted ? Buffer.concat([Buffer.from(`${line.length} `), line]) : line]
      },
    }
  },
}
