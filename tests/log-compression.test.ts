import assert from 'node:assert/strict'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { hasCode } from '../src/core/errors.ts'
import { startDaemon, type TestDaemon, withDaemon } from './harness/daemon.ts'
import { LogSink, logFlags, type SinkOptions } from './harness/logSink.ts'
import { until } from './harness/shell.ts'

const folderOf = async (daemon: TestDaemon, name: string): Promise<string> =>
  path.join(daemon.dataRoot, 'containers', await daemon.mustDocker(['inspect', '-f', '{{.Id}}', name]))

/** The rotated files by number: true where one is compressed. In the midst of it both forms are there. */
const rotatedIn = (folder: string): Map<number, boolean> => {
  const found = new Map<number, boolean>()
  for (const name of readdirSync(folder)) {
    const match = /-json\.log\.(\d+)(\.gz)?$/.exec(name)
    if (!match) continue
    const number = Number(match[1])
    found.set(number, match[2] !== undefined && found.get(number) !== false)
  }
  return found
}

const areCompressed = async (daemon: TestDaemon, name: string, count: number): Promise<string> => {
  const folder = await folderOf(daemon, name)
  await until(`${count} rotated files of ${name} are compressed`, () => {
    const names = readdirSync(folder)
    const rotated = names.filter(file => /-json\.log\.\d+/.test(file))
    return rotated.length === count && rotated.every(file => file.endsWith('.gz'))
  })
  assert.ok([...rotatedIn(folder).values()].every(Boolean))
  return folder
}

/** Tells the first line that is another one: the whole would be no message. */
const assertNumbers = (text: string, from: number, to: number): void => {
  const lines = text.trimEnd().split('\n')
  const wrong = lines.findIndex((line, index) => line !== String(from + index))
  const around = wrong < 0 ? [] : lines.slice(Math.max(0, wrong - 1), wrong + 2)
  assert.deepEqual({ around, count: lines.length }, { around: [], count: to - from + 1 })
}

const touchOn = (pid: string): void => writeFileSync(`/proc/${pid}/root/on`, '')

/** Between a rotation's two steps there is no current file. */
const holds = (log: string, text: string): boolean => {
  try {
    return readFileSync(log).includes(text)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false
    throw error
  }
}

test('local: what was rotated is compressed, and read as if it were not', async () => {
  await withDaemon({}, async daemon => {
    const caps = logFlags('local', { 'max-size': '200k', 'max-file': '30' })
    await daemon.mustDocker([
      ...['run', '-d', '--name', 'counts', ...caps, 'busybox', 'sh', '-c'],
      'seq 20000; while ! test -e /on; do sleep 0.1; done; seq 20001 40000',
    ])
    const seen = daemon.docker(['logs', '-f', 'counts'])
    await until(
      'the first half is there',
      async () => (await daemon.mustDocker(['logs', '--tail', '1', 'counts'])) === '20000',
    )
    const middle = new Date().toISOString()
    await daemon.mustDocker(['exec', 'counts', 'touch', '/on'])
    await daemon.mustDocker(['wait', 'counts'])
    const count = [...rotatedIn(await folderOf(daemon, 'counts')).keys()].length
    assert.ok(count > 5, `${count}`)
    const folder = await areCompressed(daemon, 'counts', count)
    const { stdout, stderr } = await seen
    assert.equal(stderr, '')
    assertNumbers(stdout, 1, 40_000)
    const logs = (...args: string[]): Promise<string> => daemon.mustDocker(['logs', ...args, 'counts'])
    assertNumbers(await logs(), 1, 40_000)
    for (const tail of [1, 1500, 25_000, 50_000])
      assertNumbers(await logs('--tail', String(tail)), Math.max(1, 40_001 - tail), 40_000)
    assert.equal(await logs('--tail', '0'), '')
    assertNumbers(await logs('--since', middle), 20_001, 40_000)
    assertNumbers(await logs('--until', middle), 1, 20_000)
    assertNumbers(await logs('--until', middle, '--tail', '30000'), 10_001, 20_000)
    const shown = await daemon.mustDocker([
      'inspect',
      '-f',
      '{{json .HostConfig.LogConfig}} {{json .LogPath}}',
      'counts',
    ])
    assert.equal(shown, '{"Type":"local","Config":{"max-file":"30","max-size":"200k"}} ""')
    const [first = ''] = readdirSync(folder).filter(name => name.endsWith('.log.1.gz'))
    assert.match(gunzipSync(readFileSync(path.join(folder, first))).toString(), /^\{"log":"1\\n"/)
    const { Berth } = await daemon.json<{ Berth: { Logs: { CountedBytes: number } } }>('GET', '/system/df')
    assert.ok(Berth.Logs.CountedBytes < 600_000, `${Berth.Logs.CountedBytes}`)
    await daemon.mustDocker(['rm', 'counts'])
  })
})

test('json-file with compress: what was rotated while no daemon was there is compressed by the next, and the oldest goes', async () => {
  await withDaemon({}, async daemon => {
    const caps = logFlags('json-file', { 'max-size': '200k', 'max-file': '4', compress: 'true' })
    await daemon.mustDocker([
      ...['run', '-d', '--name', 'counts', ...caps, 'busybox', 'sh', '-c'],
      'while ! test -e /on; do sleep 0.1; done; seq 20000; exec sleep 1000',
    ])
    const folder = await folderOf(daemon, 'counts')
    const pid = await daemon.mustDocker(['inspect', '-f', '{{.State.Pid}}', 'counts'])
    await daemon.kill()
    touchOn(pid)
    await until('it wrote', () => holds(path.join(folder, `${path.basename(folder)}-json.log`), '"20000\\n'))
    assert.deepEqual([...rotatedIn(folder).values()], [false, false, false])
    await daemon.start()
    await areCompressed(daemon, 'counts', 3)
    await daemon.mustDocker(['exec', 'counts', 'sh', '-c', 'seq 20001 40000 > /proc/1/fd/1'])
    await until(
      'the rest is there',
      async () => (await daemon.mustDocker(['logs', '--tail', '1', 'counts'])) === '40000',
    )
    await areCompressed(daemon, 'counts', 3)
    const lines = (await daemon.mustDocker(['logs', 'counts'])).split('\n')
    assert.ok(lines.length > 6000 && lines.length < 20_000, `${lines.length}`)
    assertNumbers(lines.join('\n'), 40_001 - lines.length, 40_000)
    await daemon.mustDocker(['rm', '-f', 'counts'])
  })
})

const numbersIn = (sink: LogSink): number[] =>
  sink.text
    .split('\n')
    .slice(0, -1)
    .map(line => Number(line.slice(line.lastIndexOf(' ') + 1)))

test('the cache of a delivering driver is compressed, too, and its delivery goes on in the midst of such a file', async () => {
  await withDaemon({}, async daemon => {
    const given = {
      'syslog-address': 'tcp://127.0.0.1:5514',
      'cache-max-size': '200k',
      'cache-max-file': '20',
    }
    const address: SinkOptions = { kind: 'tcp', address: 5514 }
    const sink = await LogSink.start(daemon.namespace, address)
    await daemon.mustDocker([
      ...['run', '-d', '--name', 'counts', ...logFlags('syslog', given), 'busybox', 'sh', '-c'],
      'seq 1000; while ! test -e /on; do sleep 0.1; done; seq 1001 15000; exec sleep 1000',
    ])
    const pid = await daemon.mustDocker(['inspect', '-f', '{{.State.Pid}}', 'counts'])
    const folder = await folderOf(daemon, 'counts')
    await until('the first came', () => numbersIn(sink).at(-1) === 1000)
    const [cursor = ''] = readdirSync(folder).filter(name => name.endsWith('.cursor'))
    const [current = ''] = readdirSync(folder).filter(name => name.endsWith('-json.log'))
    const { size } = statSync(path.join(folder, current))
    await until('that is noted', () =>
      readFileSync(path.join(folder, cursor), 'utf8').trim().endsWith(` ${size}`),
    )
    await daemon.kill()
    await sink[Symbol.asyncDispose]()
    touchOn(pid)
    await until('all was written', () => holds(path.join(folder, current), '"15000\\n'))
    const count = rotatedIn(folder).size
    await daemon.start()
    await areCompressed(daemon, 'counts', count)
    await using again = await LogSink.start(daemon.namespace, address)
    await until('the last came', () => numbersIn(again).at(-1) === 15_000)
    assertNumbers(numbersIn(again).join('\n'), 1001, 15_000)
    await daemon.mustDocker(['rm', '-f', 'counts'])
    const plain = logFlags('syslog', { ...given, 'cache-compress': 'false' })
    await daemon.mustDocker(['run', '--name', 'counts', ...plain, 'busybox', 'seq', '15000'])
    await daemon.restart()
    assert.ok(![...rotatedIn(await folderOf(daemon, 'counts')).values()].includes(true))
  })
})

/** Attaches by hand: the log, then the output. */
const attachSlowly = (daemon: TestDaemon, name: string): net.Socket => {
  const socket = net.connect(daemon.socket)
  socket.write(
    `POST /containers/${name}/attach?logs=1&stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n`,
  )
  return socket
}

/** What follows the head of the answer, without frames. */
const unframed = (bytes: Buffer): string => {
  let text = ''
  for (let at = bytes.indexOf('\r\n\r\n') + 4; at + 8 <= bytes.length; ) {
    const length = bytes.readUInt32BE(at + 4)
    text += bytes.toString('utf8', at + 8, at + 8 + length)
    at += 8 + length
  }
  return text
}

test('an attached client that wants the log gets compressed files first, and one that is slow misses nothing', async () => {
  await withDaemon({}, async daemon => {
    const caps = logFlags('local', { 'max-size': '200k', 'max-file': '60' })
    await daemon.mustDocker([
      ...['run', '-d', '--name', 'counts', ...caps, 'busybox', 'sh', '-c'],
      'seq 20000; while ! test -e /on; do sleep 0.1; done; seq 20001 60000; while ! test -e /end; do sleep 0.1; done',
    ])
    const folder = await folderOf(daemon, 'counts')
    await until(
      'the first half is there',
      async () => (await daemon.mustDocker(['logs', '--tail', '1', 'counts'])) === '20000',
    )
    await areCompressed(daemon, 'counts', rotatedIn(folder).size)
    const socket = attachSlowly(daemon, 'counts')
    const chunks: Buffer[] = []
    const seen = (): string => unframed(Buffer.concat(chunks))
    socket.on('data', (chunk: Buffer) => void chunks.push(chunk))
    await until('the log came', () => seen().endsWith('\n20000\n'))
    socket.pause()
    await daemon.mustDocker(['exec', 'counts', 'touch', '/on'])
    await until(
      'all was written',
      async () => (await daemon.mustDocker(['logs', '--tail', '1', 'counts'])) === '60000',
    )
    socket.resume()
    await until('all came', () => seen().endsWith('\n60000\n'))
    assertNumbers(seen(), 1, 60_000)
    await daemon.mustDocker(['exec', 'counts', 'touch', '/end'])
    await daemon.mustDocker(['wait', 'counts'])
    await areCompressed(daemon, 'counts', rotatedIn(folder).size)
    socket.destroy()
  })
})

test('options of local and of compression are refused in Docker’s words', async () => {
  await withDaemon({}, async daemon => {
    const refused: [string, Record<string, string>, RegExp][] = [
      ['local', { nonsense: '' }, /unknown log opt 'nonsense' for log driver local/],
      ['local', { 'max-size': 'much' }, /invalid value for max-size: much: invalid size: 'much'/],
      [
        'local',
        { 'max-file': 'x' },
        /invalid value for max-file: x: strconv.Atoi: parsing "x": invalid syntax/,
      ],
      ['local', { 'max-file': '1' }, /compression cannot be enabled when max file count is 1/],
      ['local', { compress: 'x' }, /invalid boolean value for compress/],
      [
        'json-file',
        { compress: 'true' },
        /compress cannot be true when max-file is less than 2 or max-size is not set/,
      ],
      ['json-file', { compress: 'x' }, /strconv.ParseBool: parsing "x": invalid syntax/],
    ]
    for (const [type, given, words] of refused) {
      const { code, stderr } = await daemon.docker(['create', ...logFlags(type, given), 'busybox'])
      assert.notEqual(code, 0, JSON.stringify(given))
      assert.match(stderr, words)
    }
    await daemon.mustDocker([
      ...['run', '-d', '--name', 'one', ...logFlags('local', { 'max-file': '1', compress: 'false' })],
      ...['busybox', 'echo', 'said'],
    ])
    await daemon.mustDocker(['wait', 'one'])
    assert.equal(await daemon.mustDocker(['logs', 'one']), 'said')
  })
})

test('the daemon’s options are those of its own driver; of the cache’s, each container gets them; its own log is raw', async () => {
  const defaults = { 'syslog-facility': 'local1', 'cache-max-file': '7', tag: '{{.Name}}' }
  const daemon = await startDaemon({ flags: [...logFlags('syslog', defaults), '--raw-logs'] })
  try {
    await daemon.loadBusybox()
    const configOf = async (name: string, ...given: string[]): Promise<unknown> => {
      await daemon.mustDocker(['create', '--name', name, ...given, 'busybox'])
      return JSON.parse(await daemon.mustDocker(['inspect', '-f', '{{json .HostConfig.LogConfig}}', name]))
    }
    assert.deepEqual(await configOf('same', '--log-opt', 'tag=x'), {
      Type: 'syslog',
      Config: { ...defaults, tag: 'x' },
    })
    assert.deepEqual(await configOf('other', '--log-driver=json-file', '--log-opt', 'labels=a'), {
      Type: 'json-file',
      Config: { 'cache-max-file': '7', labels: 'a' },
    })
    assert.doesNotMatch(daemon.log, /raw-logs/)
    assert.ok(!daemon.log.includes('\x1b'))
    for (const line of daemon.log.trimEnd().split('\n'))
      assert.match(line, /^time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z" level=/)
  } finally {
    await daemon.close()
  }
})
