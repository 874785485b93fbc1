import assert from 'node:assert/strict'
import { test } from 'node:test'
import { syslog } from './syslog.ts'
import type { LogSource } from './types.ts'

const source: LogSource = {
  ...{ id: 'c'.repeat(64), name: 'web', command: 'sh', imageId: 'sha256:1', imageName: 'busybox' },
  ...{ created: '', hostname: 'host', env: [], labels: {} },
}
const time = '2001-09-09T01:46:40.123456789Z'
const entry = { text: 'said', stream: 'stdout', time } as const

const lineOf = (options: Record<string, string>): string => {
  syslog.check(options)
  return Buffer.concat(syslog.open(source, { tag: 'web', ...options }).encode(entry)).toString()
}

test('each facility, by name and by number', () => {
  const names = [
    ...['kern', 'user', 'mail', 'daemon', 'auth', 'syslog', 'lpr', 'news', 'uucp', 'cron', 'authpriv', 'ftp'],
    ...['', '', '', '', 'local0', 'local1', 'local2', 'local3', 'local4', 'local5', 'local6', 'local7'],
  ]
  for (const [number, name] of names.entries())
    for (const facility of name === '' ? [String(number)] : [name, String(number)])
      assert.ok(lineOf({ 'syslog-facility': facility }).startsWith(`<${number * 8 + 6}>`), facility)
  assert.ok(lineOf({}).startsWith('<30>'))
})

test('each format has its header, with the time of the line', () => {
  const old = /^<30>Sep {1,2}\d{1,2} \d\d:\d\d:\d\d /
  const { pid } = process
  assert.match(lineOf({ 'syslog-format': 'rfc3164' }), old)
  assert.ok(lineOf({ 'syslog-format': 'rfc3164' }).endsWith(` host web[${pid}]: said\n`))
  assert.match(lineOf({}), old)
  assert.ok(lineOf({}).endsWith(` web[${pid}]: said\n`))
  const parts = (format: string): string[] => lineOf({ 'syslog-format': format }).split(' ')
  const [priority, when = '', ...rest] = parts('rfc5424')
  assert.deepEqual([priority, ...rest], ['<30>1', 'host', 'web', String(pid), 'web', '-', 'said\n'])
  assert.equal(new Date(when).getTime(), Date.parse('2001-09-09T01:46:40Z'))
  assert.match(parts('rfc5424micro')[1] ?? '', /\.123456(Z|[+-]\d\d:\d\d)$/)
})

test('TLS files and whether the other side is looked at', () => {
  const files = { 'syslog-tls-ca-cert': '/ca', 'syslog-tls-cert': '/cert', 'syslog-tls-key': '/key' }
  const targetOf = (options: Record<string, string>): unknown =>
    syslog.open(source, { 'syslog-address': 'tcp+tls://logs:6514', ...options }).target
  const tls = { ca: '/ca', cert: '/cert', key: '/key', verify: true }
  assert.deepEqual(targetOf(files), { kind: 'tcp', host: 'logs', port: 6514, tls })
  assert.deepEqual(targetOf({ ...files, 'syslog-tls-skip-verify': 'true' }), {
    ...{ kind: 'tcp', host: 'logs', port: 6514 },
    tls: { ...tls, verify: false },
  })
})
