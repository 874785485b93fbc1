import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeMonitorSpec } from './monitorSpec.ts'
import type { MonitorSpec } from './types.ts'

const spec: MonitorSpec = {
  id: 'abc',
  directory: '/run/abc',
  runtime: {
    name: 'runc',
    path: '/bin/runc',
    args: ['--debug', ''],
    root: '/run/runc',
    hideUnified: true,
    sealed: false,
  },
  task: { kind: 'exec', containerId: 'c1', processFile: '/run/p.json' },
  terminal: true,
  columns: 80,
  rows: 25,
  openStdin: false,
  stdinOnce: false,
  log: { driver: 'none', path: '/ignored', maxSize: 5, maxFile: 2, attrs: '{}' },
  monitorCgroups: ['/sys/a', '/sys/b'],
  memoryCgroup: '',
  blockOnSlowClient: false,
}

const entries = (bytes: Buffer): string[] => bytes.toString('utf8').split('\0')

test('keys and values alternate, lists repeat their key, empty values are left out', () => {
  const written = entries(encodeMonitorSpec(spec))
  assert.equal(written.pop(), '')
  assert.equal(written.length % 2, 0)
  const pairs = written.flatMap((key, index) => (index % 2 === 0 ? [`${key}=${written[index + 1]}`] : []))
  assert.deepEqual(
    pairs.filter(pair => /^(runtime-arg|monitor-cgroup|memory|log|container|process|bundle)/.test(pair)),
    [
      'runtime-arg=--debug',
      'container=c1',
      'process=/run/p.json',
      'monitor-cgroup=/sys/a',
      'monitor-cgroup=/sys/b',
    ],
  )
})

test('what is done for a user namespace is told in numbers', () => {
  const userNamespace = {
    owner: { uid: 100_000, gid: 200_000 },
    oomScoreAdj: -100,
    hardLimits: [{ resource: 8, hard: 2n ** 64n - 1n }],
  }
  const written = encodeMonitorSpec({ ...spec, userNamespace }).toString('utf8')
  for (const pair of [
    ['owner-uid', '100000'],
    ['owner-gid', '200000'],
    ['oom-score-adj', '-100'],
    ['hard-limit', '8:18446744073709551615'],
  ])
    assert.ok(written.includes(`\0${pair.join('\0')}\0`), pair.join(' '))
})

test('what the format cannot carry is refused by name', () => {
  assert.throws(() => encodeMonitorSpec({ ...spec, directory: '/a\0b' }), /the directory of abc holds a NUL/)
  const log = { ...spec.log, driver: 'json-file' as const, attrs: 'x'.repeat(140_000) }
  assert.throws(() => encodeMonitorSpec({ ...spec, log }), /shorten its labels/)
})
