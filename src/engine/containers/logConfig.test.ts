import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isCompressing, logSettings } from './logConfig.ts'
import { checkLogConfig } from './logDrivers.ts'
import type { ContainerRecord } from './types.ts'

const mega = 1e6
const settings = { dataRoot: '/data', logLimits: { maxSize: 7 * mega, maxFile: 3, budget: 0 } }

const recordOf = (type: string, config: Record<string, string>): ContainerRecord =>
  ({
    ...{ id: 'c'.repeat(64), name: 'web', imageId: 'sha256:1', created: '', args: [] },
    config: { Image: 'busybox', Cmd: ['sh'], Env: ['A=1', 'B=2'], Labels: { team: 'blue' } },
    hostConfig: { LogConfig: { Type: type, Config: config } },
  }) as unknown as ContainerRecord

const capsOf = (type: string, config: Record<string, string> = {}): [number, number] => {
  const { maxSize, maxFile } = logSettings(settings, recordOf(type, config))
  return [maxSize / mega, maxFile]
}

test('how large each driver’s files may be', () => {
  assert.deepEqual(capsOf('json-file'), [7, 3])
  assert.deepEqual(capsOf('json-file', { 'max-size': '1m' }), [1, 1])
  assert.deepEqual(capsOf('json-file', { 'max-size': '1m', 'max-file': '4' }), [1, 4])
  assert.deepEqual(capsOf('local'), [20.97152, 5])
  assert.deepEqual(capsOf('local', { 'max-size': '1m' }), [1, 5])
  assert.deepEqual(capsOf('local', { 'max-file': '2' }), [20.97152, 2])
  assert.deepEqual(capsOf('local', { 'max-size': '0' }), [0, 1])
  assert.deepEqual(capsOf('json-file', { 'max-size': '-1' }), [0, 1])
  assert.deepEqual(capsOf('json-file', { 'max-size': '1kib' }), [0.001, 1])
  for (const type of ['syslog', 'gelf', 'fluentd', 'journald', 'a-plugin']) {
    assert.deepEqual(capsOf(type), [7, 3])
    assert.deepEqual(capsOf(type, { 'cache-max-size': '1m' }), [1, 2])
    assert.deepEqual(capsOf(type, { 'cache-max-size': '1m', 'cache-max-file': '9' }), [1, 9])
  }
})

test('what each line carries: by the options, or those of the cache where the log is delivered', () => {
  const attrsOf = (type: string, config: Record<string, string>): string =>
    logSettings(settings, recordOf(type, config)).attrs
  const wanted = { labels: 'team', 'env-regex': '^A$', tag: '{{.Name}}' }
  const cached = Object.fromEntries(Object.entries(wanted).map(([key, value]) => [`cache-${key}`, value]))
  for (const type of ['json-file', 'local']) {
    assert.equal(attrsOf(type, wanted), '{"team":"blue","A":"1","tag":"web"}')
    assert.equal(attrsOf(type, cached), '')
  }
  assert.equal(attrsOf('syslog', wanted), '')
  assert.equal(attrsOf('syslog', cached), '{"team":"blue","A":"1","tag":"web"}')
})

test('what is compressed', () => {
  const isSo = (type: string, config: Record<string, string> = {}): boolean =>
    isCompressing(recordOf(type, config))
  assert.deepEqual(
    [
      isSo('local'),
      isSo('local', { compress: 'false' }),
      isSo('json-file'),
      isSo('json-file', { compress: '1' }),
    ],
    [true, false, false, true],
  )
  for (const type of ['syslog', 'journald', 'a-plugin']) {
    assert.equal(isSo(type, { compress: 'false' }), true)
    assert.equal(isSo(type, { 'cache-compress': 'false' }), false)
  }
  assert.equal(isSo('none', { compress: 'true' }), false)
})

test('options that all drivers take, and drivers that are not built', () => {
  const check = (type: string, config: Record<string, string>): void =>
    checkLogConfig(type, config, name => name === 'a-plugin')
  const cache = {
    ...{ 'cache-disabled': 'true', 'cache-max-size': '1m', 'cache-max-file': '2', 'cache-compress': 'false' },
    ...{ 'cache-labels': 'a', 'cache-labels-regex': 'a', 'cache-env': 'a', 'cache-env-regex': 'a' },
    ...{ 'cache-tag': '{{.ID}}', mode: 'non-blocking', 'max-buffer-size': '4m' },
  }
  for (const type of ['json-file', 'local', 'none', 'syslog', 'gelf', 'fluentd', 'a-plugin'])
    check(type, { ...(type === 'gelf' ? { 'gelf-address': 'udp://a:1' } : {}), ...cache })
  const refused: [string, Record<string, string>, RegExp][] = [
    ['local', { 'cache-tag': '{{.No}}' }, /can't evaluate field/],
    ['syslog', { 'cache-env-regex': '(' }, /error parsing regexp/],
    ['syslog', { 'cache-max-file': '-1' }, /max-file must not be negative/],
    ['syslog', { 'cache-max-size': 'much' }, /invalid value for max-size: much: invalid size: 'much'/],
    ['syslog', { 'cache-compress': 'x' }, /invalid boolean value for compress/],
    ['fluentd', { 'max-buffer-size': '4m' }, /only supported with 'mode=non-blocking'/],
    ['fluentd', { mode: 'non-blocking', 'max-buffer-size': 'x' }, /error parsing option max-buffer-size/],
    ['loud', {}, /no log driver named 'loud' is registered/],
  ]
  for (const [type, config, message] of refused)
    assert.throws(() => check(type, config), { status: 400, message })
  for (const type of ['awslogs', 'splunk', 'gcplogs', 'etwlogs'])
    assert.throws(() => check(type, {}), {
      status: 501,
      message: new RegExp(`the log driver ${type} .*use fluentd, gelf, syslog or a log plugin`),
    })
})
