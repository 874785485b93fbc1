import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gunzipSync, inflateSync } from 'node:zlib'
import { gelf } from './gelf.ts'
import type { LogSource } from './types.ts'

const source: LogSource = {
  ...{ id: 'c'.repeat(64), name: 'web', command: 'sh', imageId: 'sha256:1', imageName: 'busybox' },
  ...{ created: '', hostname: 'host', env: [], labels: {} },
}
const entry = { text: 'said '.repeat(100), stream: 'stdout', time: '2001-09-09T01:46:40.123456789Z' } as const

const datagram = (options: Record<string, string>): Buffer => {
  const given = { 'gelf-address': 'udp://logs:12201', ...options }
  gelf.check(given)
  const [message, ...more] = gelf.open(source, given).encode(entry)
  assert.deepEqual(more, [])
  return message ?? assert.fail('nothing is sent')
}

const textIn = (message: Buffer): string =>
  (JSON.parse(message.toString()) as { short_message: string }).short_message

test('each compression', () => {
  assert.equal(textIn(gunzipSync(datagram({}))), entry.text)
  assert.equal(textIn(gunzipSync(datagram({ 'gelf-compression-type': 'gzip' }))), entry.text)
  assert.equal(textIn(inflateSync(datagram({ 'gelf-compression-type': 'zlib' }))), entry.text)
  assert.equal(textIn(datagram({ 'gelf-compression-type': 'none' })), entry.text)
})

test('each level of it: none, fastest, best, and zlib’s own', () => {
  for (const type of ['gzip', 'zlib']) {
    const sizes = ['0', '1', '9', '-1'].map(
      level => datagram({ 'gelf-compression-type': type, 'gelf-compression-level': level }).length,
    )
    const [plain = 0, fastest = 0, best = 0, own = 0] = sizes
    assert.ok(plain > 500 && fastest < plain / 2 && best <= fastest && own <= fastest, sizes.join())
  }
})

test('what each option may be', () => {
  const udp = 'udp://logs:12201'
  const tcp = 'tcp://logs:12201'
  gelf.check({ 'gelf-address': tcp, 'gelf-tcp-max-reconnect': '0', 'gelf-tcp-reconnect-delay': '3' })
  const refused: [string, string, string, RegExp][] = [
    [udp, 'gelf-compression-level', '10', /unknown value "10" for log opt "gelf-compression-level"/],
    [udp, 'gelf-compression-type', 'zstd', /unknown value "zstd" for log opt "gelf-compression-type"/],
    [tcp, 'gelf-compression-type', 'none', /compression is only supported on UDP/],
    [tcp, 'gelf-tcp-max-reconnect', '-1', /"gelf-tcp-max-reconnect" must be a positive integer/],
    [tcp, 'gelf-tcp-reconnect-delay', 'x', /"gelf-tcp-reconnect-delay" must be a positive integer/],
    [udp, 'gelf-tcp-reconnect-delay', '1', /"gelf-tcp-reconnect-delay" is only valid for TCP/],
    [udp, 'nonsense', '', /unknown log opt "nonsense" for gelf log driver/],
  ]
  for (const [address, key, value, words] of refused)
    assert.throws(() => gelf.check({ 'gelf-address': address, [key]: value }), {
      status: 400,
      message: words,
    })
})
