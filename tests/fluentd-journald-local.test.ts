import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { ForwardSink } from './harness/forwardSink.ts'
import { LogSink, logFlags } from './harness/logSink.ts'
import { until } from './harness/shell.ts'

/** The log drivers fluentd, journald (with a stand-in at its socket) and local. */

const folder = mkdtempSync('/tmp/berth-journal-')
const journal = path.join(folder, 'socket')
let daemon: TestDaemon
let journaling: TestDaemon
let sink: LogSink

/** For a daemon that sees no journal of the host, or a folder where systemd's has its socket. */
const withRun = (content: string): string[] => [
  ...['unshare', '--mount', 'sh', '-ec'],
  `mount -t tmpfs none /run; ${content} exec "$@"`,
  'sh',
]
const withJournal = `mkdir -p /run/systemd/journal; mount --bind ${folder} /run/systemd/journal;`

before(async () => {
  daemon = await startDaemon()
  journaling = await startDaemon({ within: withRun(withJournal) })
  sink = await LogSink.start(journaling.namespace, { kind: 'unixgram', address: journal })
  for (const each of [daemon, journaling]) await each.loadBusybox()
})
after(async () => {
  for (const each of [daemon, journaling]) await each.close()
  await sink[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

const talk = ['busybox', 'sh', '-c', 'echo one; echo two >&2; sleep 0.1; echo last']

test('fluentd: records with tag, times and attributes, over TCP and a unix socket', async () => {
  mkdirSync(path.join(daemon.base, 'sinks'))
  const socket = path.join(daemon.base, 'sinks/forward')
  const cases: [address: number | string, option: string][] = [
    [24_224, 'fluentd-address=127.0.0.1:24224'],
    [socket, `fluentd-address=unix://${socket}`],
  ]
  for (const [address, option] of cases) {
    await using forward = await ForwardSink.start(daemon.namespace, { address })
    await daemon.mustDocker([
      ...['run', '--rm', '--name', 'talker', '--label', 'team=web', '-e', 'STAGE=test'],
      ...logFlags('fluentd', { tag: 'docker.{{.Name}}', labels: 'team', env: 'STAGE' }),
      ...['--log-opt', option, '--log-opt', 'fluentd-sub-second-precision=true', ...talk],
    ])
    await until('the last line', () => forward.logs.includes('last'))
    assert.deepEqual(forward.logs.toSorted(), ['last', 'one', 'two'])
    const [first] = forward.received
    const records = forward.received.flatMap(({ entries }) => entries)
    assert.equal(first?.tag, 'docker.talker')
    assert.equal(first?.option.size, first?.entries.length)
    const [time, record] = records.find(([, { log }]) => log === 'two') ?? assert.fail('no record')
    assert.match(String(time), /^\d{10}\.\d{9}$/)
    assert.match(record['container_id'] ?? '', /^[0-9a-f]{64}$/)
    const { container_id: _, ...rest } = record
    assert.deepEqual(rest, {
      container_name: '/talker',
      source: 'stderr',
      log: 'two',
      team: 'web',
      STAGE: 'test',
    })
  }
})

test('fluentd: a long line comes in parts that say so', async () => {
  await using forward = await ForwardSink.start(daemon.namespace, { address: 24_224 })
  await daemon.mustDocker([
    ...['run', '--rm', ...logFlags('fluentd'), 'busybox', 'sh', '-c'],
    'head -c 40000 /dev/zero | tr "\\0" x; echo',
  ])
  await until('the last part', () =>
    forward.received.some(({ entries }) => entries.some(([, record]) => record['partial_last'] === 'true')),
  )
  const parts = forward.received.flatMap(({ entries }) => entries.map(([, record]) => record))
  assert.equal(parts.map(({ log = '' }) => log).join('').length, 40_000)
  assert.deepEqual(
    parts.map(record => [record['partial_message'], record['partial_ordinal'], record['partial_last']]),
    [
      ['true', '1', 'false'],
      ['true', '2', 'false'],
      ['true', '3', 'true'],
    ],
  )
  assert.equal(new Set(parts.map(record => record['partial_id'])).size, 1)
})

test('fluentd: what nobody acknowledged is sent again, over the death of the daemon, too', async () => {
  const options = { 'fluentd-request-ack': 'true', 'fluentd-async': 'true' }
  const deaf = await ForwardSink.start(daemon.namespace, { address: 24_224, silent: true })
  await daemon.mustDocker(['run', '-d', '--name', 'acked', ...logFlags('fluentd', options), ...talk])
  await daemon.mustDocker(['wait', 'acked'])
  await until('what is not acknowledged', () => deaf.logs.includes('one'))
  await daemon.kill()
  await deaf[Symbol.asyncDispose]()
  await using forward = await ForwardSink.start(daemon.namespace, { address: 24_224 })
  await daemon.start()
  await until('all', () => forward.logs.includes('last'))
  assert.deepEqual(forward.logs.toSorted(), ['last', 'one', 'two'])
  assert.equal(await daemon.mustDocker(['logs', 'acked']), 'one\nlast')
  await daemon.mustDocker(['rm', 'acked'])
})

test('fluentd: a server that is not there stops neither start nor stop nor removal', async () => {
  await daemon.mustDocker([
    'run',
    '-d',
    '--name',
    'alone',
    ...logFlags('fluentd'),
    'busybox',
    'sleep',
    '1000',
  ])
  await daemon.mustDocker(['stop', '-t', '0', 'alone'])
  await daemon.mustDocker(['rm', 'alone'])
})

/** Fields of a datagram of the journal's native protocol. */
const fieldsOf = (bytes: Buffer): Record<string, string> => {
  const fields: Record<string, string> = {}
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf('\n', at)
    const line = bytes.toString('utf8', at, end)
    const equals = line.indexOf('=')
    if (equals >= 0) {
      fields[line.slice(0, equals)] = line.slice(equals + 1)
      at = end + 1
      continue
    }
    const length = Number(bytes.readBigUInt64LE(end + 1))
    fields[line] = bytes.toString('utf8', end + 9, end + 9 + length)
    at = end + 10 + length
  }
  return fields
}

test('journald: an entry for each line, with all that tells where it comes from', async () => {
  sink.received.length = 0
  await journaling.mustDocker([
    ...['run', '--rm', '--name', 'writer', '--label', 'io.team-name=a\nb', '-e', '_stage=test'],
    ...logFlags('journald', { 'labels-regex': 'team', env: '_stage', tag: '{{.Name}}' }),
    ...talk,
  ])
  await until('the last line', () => sink.received.some(bytes => bytes.includes('MESSAGE=last\n')))
  const entries = sink.received.map(fieldsOf)
  assert.deepEqual(entries.map(entry => [entry['MESSAGE'], entry['PRIORITY']]).toSorted(), [
    ['last', '6'],
    ['one', '6'],
    ['two', '3'],
  ])
  const entry = entries[0] ?? assert.fail('no entry')
  assert.match(entry['CONTAINER_ID_FULL'] ?? '', /^[0-9a-f]{64}$/)
  assert.equal(entry['CONTAINER_ID'], entry['CONTAINER_ID_FULL']?.slice(0, 12))
  assert.match(entry['SYSLOG_TIMESTAMP'] ?? '', /^\d{4}-.*Z$/)
  assert.deepEqual(
    ['CONTAINER_NAME', 'CONTAINER_TAG', 'SYSLOG_IDENTIFIER', 'IMAGE_NAME', 'IO_TEAM_NAME', 'STAGE'].map(
      name => entry[name],
    ),
    ['writer', 'writer', 'writer', 'busybox', 'a\nb', 'test'],
  )
  assert.deepEqual(
    entries.map(each => each['CONTAINER_LOG_ORDINAL']),
    ['1', '2', '3'],
  )
})

test('journald: docker logs reads it, and what a stopped journal missed comes once it is back', async () => {
  await journaling.mustDocker([
    ...['run', '-d', '--name', 'missed', ...logFlags('journald'), 'busybox', 'sh', '-c'],
    'echo before; while [ ! -e /go ]; do sleep 0.1; done; echo meanwhile; exec sleep 1000',
  ])
  await until('the first line', () => sink.received.some(bytes => bytes.includes('MESSAGE=before\n')))
  await sink[Symbol.asyncDispose]()
  rmSync(journal)
  await journaling.mustDocker(['exec', 'missed', 'touch', '/go'])
  await until(
    'the log',
    async () => (await journaling.mustDocker(['logs', 'missed'])) === 'before\nmeanwhile',
  )
  sink = await LogSink.start(journaling.namespace, { kind: 'unixgram', address: journal })
  await until('the missed line', () => sink.received.some(bytes => bytes.includes('MESSAGE=meanwhile\n')))
  await journaling.mustDocker(['rm', '-f', 'missed'])
})

test('a host without a journal refuses the driver', async t => {
  const without = await startDaemon({ within: withRun('') })
  t.after(() => without.close())
  await without.loadBusybox()
  const { code, stderr } = await without.docker(['create', ...logFlags('journald'), 'busybox'])
  assert.equal(code, 1)
  assert.match(stderr, /journald is not enabled on this host/)
})

test('local: five files of 20 MB unless told otherwise, read as any log', async () => {
  const fill = 'i=0; while [ $i -lt 3000 ]; do echo "line $i"; i=$((i+1)); done'
  await daemon.mustDocker([
    ...['run', '--name', 'here', ...logFlags('local', { 'max-size': '64k', 'max-file': '2', tag: 't' })],
    ...['busybox', 'sh', '-c', fill],
  ])
  const shown = await daemon.mustDocker(['logs', '--tail', '2', 'here'])
  assert.equal(shown, 'line 2998\nline 2999')
  assert.match(await daemon.mustDocker(['logs', '--details', '--tail', '1', 'here']), /^tag=t line 2999$/)
  const all = (await daemon.mustDocker(['logs', 'here'])).split('\n')
  assert.ok(all.length < 3000 && all.length > 500, 'older files went')
  const config = await daemon.mustDocker([
    'inspect',
    '-f',
    '{{json .HostConfig.LogConfig}} {{.LogPath}}',
    'here',
  ])
  assert.equal(config, '{"Type":"local","Config":{"max-file":"2","max-size":"64k","tag":"t"}} ')
  assert.match(
    await daemon.mustDocker(['info', '-f', '{{.Plugins.Log}}']),
    /fluentd.*journald.*json-file.*local/,
  )
})
