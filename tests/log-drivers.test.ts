import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { gunzipSync, inflateSync } from 'node:zlib'
import { makeCertificates } from '../src/registry-client/testing/certificates.ts'
import { type TestDaemon, withDaemon } from './harness/daemon.ts'
import { LogSink, logFlags, type SinkOptions } from './harness/logSink.ts'
import { until } from './harness/shell.ts'

interface Case {
  sink: SinkOptions
  options: Record<string, string>
  /** What a line must be like. */
  form: RegExp
  /** Bytes are counted before each message. */
  counted?: boolean
}

const day = '[A-Z][a-z]{2} [ 123]\\d \\d\\d:\\d\\d:\\d\\d'
const iso = '\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d'
const zone = '(?:Z|[+-]\\d\\d:\\d\\d)'

const syslogCases = (base: string): Case[] => [
  {
    sink: { kind: 'udp', address: 5514 },
    options: { 'syslog-address': 'udp://127.0.0.1:5514', tag: '{{.Name}}/{{.ImageName | upper}}' },
    form: new RegExp(`^<(\\d+)>${day} talker/BUSYBOX\\[\\d+\\]: (.*)$`),
  },
  {
    sink: { kind: 'tcp', address: 5515 },
    options: {
      'syslog-address': 'tcp://127.0.0.1:5515',
      'syslog-format': 'rfc5424',
      'syslog-facility': 'local3',
    },
    form: new RegExp(`^<(\\d+)>1 ${iso}${zone} \\S+ [0-9a-f]{12} \\d+ [0-9a-f]{12} - (.*)$`),
  },
  {
    sink: { kind: 'tls', address: 5516, certificate: `${base}/cert`, key: `${base}/key` },
    options: {
      'syslog-address': 'tcp+tls://127.0.0.1:5516',
      'syslog-format': 'rfc5424micro',
      'syslog-tls-ca-cert': `${base}/ca`,
    },
    form: new RegExp(`^<(\\d+)>1 ${iso}\\.\\d{6}${zone} \\S+ [0-9a-f]{12} \\d+ [0-9a-f]{12} - (.*)$`),
    counted: true,
  },
  {
    sink: { kind: 'unix', address: `${base}/stream` },
    options: { 'syslog-address': `unix://${base}/stream`, 'syslog-format': 'rfc3164' },
    form: new RegExp(`^<(\\d+)>${day} \\S+ [0-9a-f]{12}\\[\\d+\\]: (.*)$`),
  },
  {
    sink: { kind: 'unixgram', address: `${base}/gram` },
    options: { 'syslog-address': `unixgram://${base}/gram` },
    form: new RegExp(`^<(\\d+)>${day} [0-9a-f]{12}\\[\\d+\\]: (.*)$`),
  },
]

/** Messages with their bytes counted before them, as lines. */
const uncounted = (bytes: Buffer): string => {
  let text = ''
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(' ', at)
    const end = space + 1 + Number(bytes.toString('utf8', at, space))
    text += bytes.toString('utf8', space + 1, end)
    at = end
  }
  return text
}

test('syslog: each transport and format, and what is removed at once is delivered before', async () => {
  await withDaemon({}, async daemon => {
    const base = path.join(daemon.base, 'sinks')
    mkdirSync(base)
    const { authority, server } = makeCertificates()
    for (const [name, text] of Object.entries({ ca: authority, cert: server.cert, key: server.key }))
      writeFileSync(path.join(base, name), text)
    for (const { sink: options, options: given, form, counted } of syslogCases(base)) {
      // At once as many as a socket's buffer holds while nobody reads it: what is too much for it UDP drops.
      const portion = options.kind === 'udp' ? 150 : 3000
      await using sink = await LogSink.start(daemon.namespace, options)
      let shown = 0
      for (let last = portion; last <= 3000; last += portion) {
        const first = last - portion + 1
        const begin = first === 1 ? 'echo one; echo; echo "zwei ü" >&2; ' : ''
        const lines = await daemon.mustDocker([
          ...['run', '--rm', '--name', 'talker', ...logFlags('syslog', given)],
          ...['busybox', 'sh', '-c', `${begin}seq ${first} ${last}`],
        ])
        shown += lines.split('\n').length
        await until(
          `${options.kind} has all until ${last}`,
          () => sink.text.includes(`: ${last}\n`) || sink.text.includes(`- ${last}\n`),
        )
      }
      assert.equal(shown, 3002)
      const text = (): string => (counted ? uncounted(Buffer.concat(sink.received)) : sink.text)
      const lines = text().split('\n').slice(0, -1)
      const facility = given['syslog-facility'] === 'local3' ? 19 : 3
      const seen = lines.map(line => {
        const [, priority, words] = form.exec(line) ?? assert.fail(`${options.kind}: ${line}`)
        return { severity: Number(priority) - facility * 8, words: words ?? '' }
      })
      const sorted = seen.filter(({ severity }) => severity === 6).map(({ words }) => words)
      assert.deepEqual(sorted, ['one', ...[...Array(3000).keys()].map(n => String(n + 1))])
      assert.deepEqual(
        seen.filter(({ severity }) => severity !== 6),
        [{ severity: 3, words: 'zwei ü' }],
      )
    }
  })
})

const numbersIn = (sink: LogSink): number[] =>
  sink.text
    .split('\n')
    .slice(0, -1)
    .map(line => Number(line.slice(line.lastIndexOf(' ') + 1)))

/** All came, in order, but for what was sent again. */
const assertAll = (numbers: readonly number[], first: number, last: number): void => {
  let next = first
  for (const number of numbers) {
    assert.ok(number <= next, `${number} came before ${next}`)
    if (number === next) next++
  }
  assert.equal(next, last + 1)
}

/** What was told of output that was dropped: cause, files, bytes. */
const drops = (daemon: TestDaemon): Promise<string> =>
  daemon.mustDocker([
    // To the millisecond: the client cuts `0s` to whole seconds.
    ...['events', '--since', '1h', '--until', (Date.now() / 1000).toFixed(3)],
    ...['--filter', 'event=log_drop', '--format'],
    ['cause', 'files', 'bytes'].map(key => `{{index .Actor.Attributes "berth.${key}"}}`).join(' '),
  ])

const tcp = logFlags('syslog', { 'syslog-address': 'tcp://127.0.0.1:5514' })
const sinkOptions: SinkOptions = { kind: 'tcp', address: 5514 }

test('a dead sink stops nobody; what was written meanwhile comes once it is there again', async () => {
  await withDaemon({}, async daemon => {
    await daemon.mustDocker([
      ...['run', '-d', '--name', 'counts', ...tcp, 'busybox', 'sh', '-c'],
      'n=0; while ! test -e /end; do n=$((n + 1)); echo $n; test $((n % 50)) = 0 && sleep 0.05; done; echo 1000000',
    ])
    await until('it cannot be delivered', () => daemon.log.includes('a log cannot be delivered at present'))
    const seen: number[] = []
    {
      await using sink = await LogSink.start(daemon.namespace, sinkOptions)
      await until('the sink reads', () => numbersIn(sink).length > 500)
      await daemon.restart()
      const before = numbersIn(sink).length
      await until('the next daemon goes on', () => numbersIn(sink).length > before + 500)
      await sink[Symbol.asyncDispose]()
      seen.push(...numbersIn(sink))
    }
    assert.equal(seen[0], 1)
    await daemon.restart()
    await daemon.mustDocker(['exec', 'counts', 'touch', '/end'])
    await daemon.mustDocker(['wait', 'counts'])
    assert.equal(await daemon.mustDocker(['logs', '--tail', '1', 'counts']), '1000000')
    const last = Number((await daemon.mustDocker(['logs', '--tail', '2', 'counts'])).split('\n')[0])
    await using sink = await LogSink.start(daemon.namespace, sinkOptions)
    await until('the end came', () => sink.text.includes(' 1000000\n') || sink.text.includes(': 1000000\n'))
    assertAll([...seen, ...numbersIn(sink).filter(number => number !== 1_000_000)], 1, last)
    assert.equal(await daemon.mustDocker(['inspect', '-f', '{{.LogPath}}', 'counts']), '')
  })
})

test('containers of a sink that is dead or takes nothing stop and go, and the daemon says what was not delivered', async () => {
  await withDaemon({}, async daemon => {
    await daemon.mustDocker([
      ...['run', '-d', '--name', 'unheard', ...tcp],
      ...['busybox', 'sh', '-c', 'seq 10; exec sleep 1000'],
    ])
    await daemon.mustDocker(['stop', '-t', '0', 'unheard'])
    await daemon.mustDocker(['rm', 'unheard'])
    await until('it is told', () =>
      /msg="a container was removed before its log had been delivered".*bytes=\d+/.test(daemon.log),
    )
    assert.match(await drops(daemon), /^removed-undelivered {2}\d+$/)
    await using _ = await LogSink.start(daemon.namespace, { ...sinkOptions, hangs: true })
    await daemon.mustDocker([
      ...['run', '-d', '--name', 'heard', ...tcp],
      ...['busybox', 'sh', '-c', 'seq 2000000; exec sleep 1000'],
    ])
    await until(
      'all was written',
      async () => (await daemon.mustDocker(['logs', '--tail', '1', 'heard'])) === '2000000',
    )
    await daemon.mustDocker(['rm', '-f', 'heard'])
    assert.equal(await daemon.mustDocker(['ps', '-aq']), '')
  })
})

test('output that rotation takes before it was delivered is told of, and what follows is delivered', async () => {
  await withDaemon({}, async daemon => {
    await daemon.mustDocker([
      ...['run', '-d', '--name', 'flood', ...tcp],
      ...['--log-opt', 'cache-max-size=64k', '--log-opt', 'cache-max-file=2'],
      ...['busybox', 'sh', '-c', 'seq 40000; exec sleep 1000'],
    ])
    await until(
      'all was written',
      async () => (await daemon.mustDocker(['logs', '--tail', '1', 'flood'])) === '40000',
    )
    await using sink = await LogSink.start(daemon.namespace, sinkOptions)
    await until('the end came', () => numbersIn(sink).at(-1) === 40_000)
    assert.match(daemon.log, /msg="output was dropped before it had been delivered".*files=\d+/)
    assert.match(await drops(daemon), /^rotated-undelivered \d+ $/m)
    const numbers = numbersIn(sink)
    assert.ok(numbers.length < 40_000)
    assertAll(numbers, numbers[0] ?? 0, 40_000)
  })
})

/** The messages of GELF's datagrams, chunks put together. */
const gelfMessages = (datagrams: readonly Buffer[]): Record<string, unknown>[] => {
  const chunks = new Map<string, Buffer[]>()
  const whole: Buffer[] = []
  for (const bytes of datagrams) {
    if (bytes.readUInt16BE() !== 0x1e0f) {
      whole.push(bytes)
      continue
    }
    const id = bytes.toString('hex', 2, 10)
    const parts = chunks.get(id) ?? []
    chunks.set(id, parts)
    parts[bytes[10] ?? 0] = bytes.subarray(12)
    if (parts.filter(Boolean).length === bytes[11]) whole.push(Buffer.concat(parts))
  }
  return whole.map(bytes => {
    const text = bytes[0] === 0x1f ? gunzipSync(bytes) : bytes[0] === 0x78 ? inflateSync(bytes) : bytes
    return JSON.parse(text.toString()) as Record<string, unknown>
  })
}

test('gelf: compressed or not, in chunks, and over TCP', async () => {
  await withDaemon({}, async daemon => {
    const cases: [SinkOptions, Record<string, string>][] = [
      [{ kind: 'udp', address: 12_201 }, {}],
      [
        { kind: 'udp', address: 12_202 },
        { 'gelf-compression-type': 'zlib', 'gelf-compression-level': '9' },
      ],
      [{ kind: 'udp', address: 12_203 }, { 'gelf-compression-type': 'none' }],
      [{ kind: 'tcp', address: 12_204 }, { 'gelf-tcp-max-reconnect': '3' }],
    ]
    for (const [sinkOptions, options] of cases) {
      await using sink = await LogSink.start(daemon.namespace, sinkOptions)
      const address = `${sinkOptions.kind}://127.0.0.1:${sinkOptions.address}`
      const more = { labels: 'team', 'env-regex': '^SHO', tag: '{{.Name}}' }
      await daemon.mustDocker([
        ...['run', '--rm', '--name', 'talker', '-l', 'team=blue', '-e', 'SHOWN=yes', '-e', 'HIDDEN=1'],
        ...logFlags('gelf', { 'gelf-address': address, ...options, ...more }),
        ...[
          'busybox',
          'sh',
          '-c',
          'echo short; head -c 6000 /dev/urandom | base64 -w 0; echo; sleep 0.1; echo bad >&2',
        ],
      ])
      const messages = (): Record<string, unknown>[] =>
        sinkOptions.kind === 'udp'
          ? gelfMessages(sink.received)
          : sink.text
              .split('\0')
              .slice(0, -1)
              .map(text => JSON.parse(text) as Record<string, unknown>)
      await until(`${address} has all`, () => messages().length === 3)
      const [first, long, last] = messages()
      assert.equal(first?.['version'], '1.1')
      assert.equal(first?.['short_message'], 'short')
      assert.equal(String(long?.['short_message']).length, 8000)
      assert.deepEqual([first?.['level'], last?.['level']], [6, 3])
      assert.ok(Math.abs(Number(first?.['timestamp']) - Date.now() / 1000) < 3600)
      assert.deepEqual(
        ['_container_name', '_image_name', '_tag', 'team', '_team', '_SHOWN', '_HIDDEN'].map(
          key => first?.[key],
        ),
        ['talker', 'busybox', 'talker', undefined, 'blue', 'yes', undefined],
      )
      assert.match(String(first?.['_command']), /^sh -c echo short/)
      assert.match(String(first?.['_image_id']), /^sha256:/)
    }
  })
})

test('options are refused in Docker’s words, and what is not built is said to be', async () => {
  await withDaemon({}, async daemon => {
    const refused = async (options: string[], words: RegExp): Promise<void> => {
      const { code, stderr } = await daemon.docker(['create', ...options, 'busybox'])
      assert.notEqual(code, 0, options.join(' '))
      assert.match(stderr, words)
    }
    const cases: [string, Record<string, string>, RegExp][] = [
      ['syslog', { nonsense: '1' }, /unknown log opt 'nonsense' for syslog log driver/],
      ['syslog', { 'syslog-address': 'http://a:1' }, /unsupported scheme: 'http'/],
      ['syslog', { 'syslog-address': 'unix:///no/such' }, /stat \/no\/such: no such file or directory/],
      ['syslog', { 'syslog-facility': 'mine' }, /invalid syslog facility/],
      ['syslog', { 'syslog-facility': '24' }, /invalid syslog facility/],
      ['syslog', { 'syslog-format': 'rfc1' }, /Invalid syslog format/],
      ['syslog', { 'cache-disabled': 'maybe' }, /invalid value for option cache-disabled: maybe/],
      ['json-file', { mode: 'sometimes' }, /logger: logging mode not supported: sometimes/],
      [
        'json-file',
        { 'max-buffer-size': '1m' },
        /max-buffer-size option is only supported with 'mode=non-blocking'/,
      ],
      ['json-file', { 'syslog-format': '' }, /unknown log opt 'syslog-format' for json-file log driver/],
      ['syslog', { tag: '{{.Nothing}}' }, /can't evaluate field/],
      ['syslog', { tag: '{{if .ID}}a{{end}}' }, /function "if" not defined/],
      ['gelf', {}, /gelf-address is a required parameter/],
      ['gelf', { 'gelf-address': 'unix://a' }, /gelf: endpoint needs to be TCP or UDP/],
      ['gelf', { 'gelf-address': 'udp://a' }, /please provide gelf-address as proto:\/\/host:port/],
      ['gelf', { 'gelf-address': 'udp://a:1', 'gelf-compression-type': 'x' }, /unknown value "x"/],
      [
        'gelf',
        { 'gelf-address': 'tcp://a:1', 'gelf-compression-level': '1' },
        /compression is only supported on UDP/,
      ],
      [
        'gelf',
        { 'gelf-address': 'udp://a:1', 'gelf-tcp-max-reconnect': '1' },
        /"gelf-tcp-max-reconnect" is only valid for TCP/,
      ],
      ['journald', { 'syslog-format': '' }, /unknown log opt 'syslog-format' for journald log driver/],
      ['local', { 'cache-me': '1' }, /unknown log opt 'cache-me' for log driver local/],
      ['local', { compress: 'maybe' }, /invalid boolean value for compress/],
      ['fluentd', { 'fluentd-adress': 'a' }, /unknown log opt 'fluentd-adress' for fluentd log driver/],
      ['fluentd', { 'fluentd-address': 'udp://a' }, /unsupported scheme: 'udp'/],
      ['fluentd', { 'fluentd-address': 'unix://' }, /path is empty/],
      ['fluentd', { 'fluentd-address': 'tcp://a:1/b' }, /should not contain a path element/],
      ['fluentd', { 'fluentd-address': 'a:b' }, /invalid port/],
      ['fluentd', { 'fluentd-async': 'maybe' }, /parsing "maybe": invalid syntax/],
      ['fluentd', { 'fluentd-max-retries': '4294967295' }, /fluentd-max-retries: value out of range/],
      ['fluentd', { 'fluentd-write-timeout': '-1s' }, /value must be a duration that is non-negative/],
      ['fluentd', { 'fluentd-async-reconnect-interval': '1m' }, /must be between 100ms and 10s/],
      ['awslogs', {}, /the log driver awslogs .* is not implemented/],
      ['loud', {}, /no log driver named 'loud' is registered/],
    ]
    for (const [type, options, words] of cases) await refused(logFlags(type, options), words)
    await daemon.mustDocker([
      ...['run', '-d', '--name', 'closed', ...tcp, '--log-opt', 'cache-disabled=true'],
      ...['busybox', 'echo', 'a'],
    ])
    const { stderr } = await daemon.docker(['logs', 'closed'])
    assert.match(stderr, /configured logging driver does not support reading/)
  })
})
