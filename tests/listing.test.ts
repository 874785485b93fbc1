import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { until } from './harness/shell.ts'

let daemon: TestDaemon
const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
  await docker(
    ...['run', '-d', '--name', 'one', '-l', 'a=b', '-l', 'c=d', '-p', '8080:80', '--expose', '99/udp'],
    ...['busybox', 'sleep', '1000'],
  )
  await docker(
    ...['run', '-d', '--name', 'two', '--health-cmd', 'true', '--health-interval', '1s'],
    ...['-v', `${daemon.base}/bound:/bound`, 'busybox', 'sleep', '1000'],
  )
  await daemon.docker(['run', '--name', 'three', 'busybox', 'sh', '-c', 'exit 3'])
  await docker('create', '--name', 'four', '--network', 'none', '-v', '/anon', '-l', 'a', 'busybox')
})
after(() => daemon.close())

/** Names that `docker ps` lists, newest first, for the client's words `name=value`. */
const ps = async (...filters: string[]): Promise<string> =>
  (
    await docker('ps', '-a', '--format', '{{.Names}}', ...filters.flatMap(filter => ['-f', filter]))
  ).replaceAll('\n', ' ')

test('an id that several begin with is nobody’s, as in Docker', async () => {
  const made = await Promise.all(
    Array.from({ length: 17 }, () =>
      daemon.json<{ Id: string }>('POST', '/containers/create', { Image: 'busybox' }),
    ),
  )
  const ids = made.map(({ Id }) => Id)
  const first = ids.map(id => id[0]).find((digit, index, all) => all.indexOf(digit) !== index) ?? ''
  assert.equal(await ps(`id=${first}`), '')
  assert.match(
    (await daemon.docker(['inspect', '--type', 'container', first])).stderr,
    /multiple IDs found with provided prefix/,
  )
  await docker('rm', ...ids)
})

test('ps takes every filter', async () => {
  await until('two is healthy', async () => (await ps('health=healthy')) === 'two')
  const wanted: [string[], string][] = [
    [['ancestor=busybox'], 'four three two one'],
    [['ancestor=absent'], ''],
    [['before=three'], 'two one'],
    [['since=two'], 'four three'],
    [['exited=3'], 'three'],
    [['exited=0'], ''],
    [['expose=99/udp'], 'one'],
    [['expose=80-100/tcp'], 'one'],
    [['publish=8080'], 'one'],
    [['publish=80'], ''],
    [['publish=80', 'expose=80'], 'one'],
    [['health=none'], 'four three one'],
    [['is-task=true'], ''],
    [['is-task=false'], 'four three two one'],
    [['isolation=default'], 'four three two one'],
    [['label=a'], 'four one'],
    [['label=a=b', 'label=c'], 'one'],
    [['label=a', 'label=c=x'], ''],
    [['name=o'], 'four two one'],
    [['name=^/one$'], 'one'],
    [['name=('], ''],
    [['network=none'], 'four'],
    [['network=absent'], ''],
    [['status=running'], 'two one'],
    [['status=created', 'status=exited'], 'four three'],
    [['volume=/bound'], 'two'],
    [[`volume=${daemon.base}/bound`], 'two'],
    [['volume=/anon'], 'four'],
  ]
  for (const [filters, names] of wanted) assert.equal(await ps(...filters), names, filters.join(' '))
  const id = await docker('inspect', '-f', '{{.Id}}', 'one')
  assert.equal(await ps(`id=${id.slice(0, 8)}`), 'one')
  assert.equal(await ps(`id=${id}`, 'name=one'), 'one')
  assert.equal(await ps(`id=${id}`, 'name=two'), '')
})

test('of what has stopped, ps shows nothing unless it is asked for', async () => {
  const names = (...args: string[]): Promise<string> => docker('ps', '--format', '{{.Names}}', ...args)
  assert.equal(await names(), 'two\none')
  assert.equal(await names('-f', 'status=exited'), 'three')
  assert.equal(await names('-f', 'exited=3'), '')
  assert.equal(await names('-f', 'since=two'), '')
  assert.equal(await names('-n', '2'), 'four\nthree')
  assert.equal(await names('-l'), 'four')
  assert.match(await docker('ps', '-s', '--format', '{{.Size}}'), /^0B \(virtual [\d.]+MB\)/)
})

test('wrong filters are refused in Docker’s words', async () => {
  const refused: [string, RegExp][] = [
    ['before=absent', /No such container: absent/],
    ['exited=x', /invalid filter 'exited=x'/],
    ['publish=x', /error while looking up for publish x/],
    ['expose=1:2', /filter for 'expose' should not contain ':': 1:2/],
    ['health=x', /invalid filter 'health=x': invalid value for health \(x\): must be one of none, starting/],
    ['status=x', /invalid filter 'status=x': invalid value for state \(x\): must be one of created, running/],
    ['is-task=maybe', /invalid filter 'is-task=\[maybe\]'/],
    ['nonsense=1', /invalid filter 'nonsense'/],
  ]
  for (const [filter, words] of refused)
    assert.match((await daemon.docker(['ps', '-f', filter])).stderr, words)
  const { status, text } = await daemon.api('GET', '/containers/json?filters=x')
  assert.deepEqual([status, JSON.parse(text)], [400, { message: 'invalid filter' }])
})

test('the list’s fields follow the version', async () => {
  type Entry = { Health?: { Status: string }; ImageManifestDescriptor?: object; Command: string }
  const first = async (version: string): Promise<Entry> => {
    const [entry] = await daemon.json<Entry[]>(
      'GET',
      `/v${version}/containers/json?all=1&filters=${encodeURIComponent('{"name":["three"]}')}`,
    )
    assert.ok(entry)
    return entry
  }
  const old = await first('1.45')
  assert.deepEqual([old.Health, old.ImageManifestDescriptor], [undefined, undefined])
  assert.equal(old.Command, "sh -c 'exit 3'")
  const fresh = await first('1.55')
  assert.equal(fresh.Health?.Status, 'none')
  assert.ok(fresh.ImageManifestDescriptor)
})

interface Event {
  Type: string
  Action: string
  status?: string
  Actor: { ID: string; Attributes: Record<string, string> }
}

const events = async (filters: object, version = '1.55'): Promise<Event[]> => {
  const { text } = await daemon.api(
    'GET',
    `/v${version}/events?since=1&until=${Date.now() / 1000}&filters=${encodeURIComponent(JSON.stringify(filters))}`,
  )
  return text
    .trim()
    .split('\n')
    .filter(Boolean)
    .map(line => JSON.parse(line) as Event)
}

test('events take every filter', async () => {
  const actions = async (filters: object): Promise<string> =>
    (await events(filters)).map(({ Type, Action }) => `${Type} ${Action}`).join(', ')
  const id = await docker('inspect', '-f', '{{.Id}}', 'three')
  const life = 'container create, container attach, container start, container die'
  assert.equal(await actions({ container: ['three'] }), life)
  assert.equal(await actions({ container: [id.slice(0, 10)] }), life)
  assert.equal(await actions({ container: ['thr'] }), life)
  assert.equal(
    await actions({ container: ['three'], event: ['die', 'start'] }),
    'container start, container die',
  )
  assert.equal(await actions({ container: ['three'], type: ['network'] }), '')
  assert.match(await actions({ type: ['network'], network: ['bridge'] }), /^network connect/)
  assert.equal(await actions({ type: ['network'], network: ['host'] }), '')
  assert.match(await actions({ image: ['busybox'], type: ['image'] }), /^image (load|tag)/)
  assert.equal(await actions({ label: ['c=d'] }), 'container create, container start')
  assert.match(await actions({ event: ['health_status'] }), /^container health_status: healthy/)
  assert.equal(await actions({ scope: ['swarm'] }), '')
  assert.equal(await actions({ plugin: ['x'] }), '')
  assert.equal(await actions({ daemon: ['absent'] }), '')
})

test('events of a span, and the forms of the stream', async () => {
  const refused = async (query: string): Promise<unknown> => JSON.parse((await daemon.api('GET', query)).text)
  assert.deepEqual(await refused('/events?since=10&until=5'), {
    message: '`since` time (10) cannot be after `until` time (5)',
  })
  assert.match(JSON.stringify(await refused('/events?since=x')), /invalid value for 'since'/)
  const type = async (version: string, accept = ''): Promise<unknown> => {
    const { headers } = await daemon.api('GET', `/v${version}/events?since=1&until=2`, undefined, { accept })
    return headers['content-type']
  }
  assert.equal(await type('1.51'), 'application/json')
  assert.equal(await type('1.52'), 'application/jsonl')
  assert.equal(await type('1.52', 'application/x-ndjson'), 'application/x-ndjson')
  const [old] = await events({ container: ['three'] }, '1.51')
  const [fresh] = await events({ container: ['three'] })
  assert.deepEqual([old?.status, fresh?.status], ['create', undefined])
})

test('logs, top, wait and port refuse in Docker’s words', async () => {
  const message = async (method: string, url: string): Promise<[number, string]> => {
    const { status, text } = await daemon.api(method, url)
    return [status, (JSON.parse(text) as { message: string }).message]
  }
  assert.deepEqual(await message('GET', '/containers/one/logs'), [
    400,
    "must specify at least one of 'stdout' or 'stderr'",
  ])
  assert.match(
    (await message('GET', '/containers/one/logs?stdout=1&since=x'))[1],
    /^invalid value for "since": /,
  )
  assert.deepEqual(await message('POST', '/containers/one/wait?condition=x'), [400, 'invalid condition: "x"'])
  assert.match(
    (await daemon.docker(['top', 'one', '-o', 'comm'])).stderr,
    /Couldn't find PID field in ps output/,
  )
  assert.match((await daemon.docker(['port', 'one', '81'])).stderr, /No public port '81' published for one/)
  const four = await docker('inspect', '-f', '{{.Id}}', 'four')
  assert.deepEqual(await message('POST', '/containers/four/kill'), [
    409,
    `cannot kill container: four: container ${four} is not running`,
  ])
  assert.match((await message('POST', '/containers/one/kill?signal=FOO'))[1], /invalid signal: FOO/i)
})

test('update changes each limit, and refuses what does not go with what is set', async () => {
  await docker('run', '-d', '--name', 'limited', '-m', '64m', 'busybox', 'sleep', '1000')
  await docker(
    ...['update', '--pids-limit', '33', '--cpuset-cpus', '0', '--cpu-shares', '99', '--cpus', '0.5'],
    ...['--memory-reservation', '20m', '--restart', 'on-failure:2', 'limited'],
  )
  const { HostConfig: host } = await daemon.json<{ HostConfig: Record<string, unknown> }>(
    'GET',
    '/containers/limited/json',
  )
  assert.deepEqual(
    [
      'PidsLimit',
      'CpusetCpus',
      'CpuShares',
      'NanoCpus',
      'MemoryReservation',
      'MemorySwap',
      'RestartPolicy',
    ].map(key => host[key]),
    [33, '0', 99, 5e8, 20971520, 134217728, { Name: 'on-failure', MaximumRetryCount: 2 }],
  )
  const refused = async (...options: string[]): Promise<string> =>
    (await daemon.docker(['update', ...options, 'limited'])).stderr
  assert.match(
    await refused('-m', '256m'),
    /Memory limit should be smaller than already set memoryswap limit/,
  )
  assert.match(
    await refused('--cpu-period', '5000'),
    /CPU Period cannot be updated as NanoCPUs has already been set/,
  )
  assert.match(
    await refused('--cpu-quota', '5000'),
    /CPU Quota cannot be updated as NanoCPUs has already been set/,
  )
  assert.match(await refused('-m', '1m'), /Minimum memory limit allowed is 6MB/)
  assert.match(await refused('--restart', 'x'), /invalid restart policy: unknown policy 'x'/)
  await daemon.json('POST', '/containers/limited/update', { PidsLimit: -1 })
  assert.equal(await docker('inspect', '-f', '{{.HostConfig.PidsLimit}}', 'limited'), '0')
  await docker('run', '-d', '--rm', '--name', 'passing', 'busybox', 'sleep', '1000')
  assert.match(
    (await daemon.docker(['update', '--restart', 'always', 'passing'])).stderr,
    /Restart policy cannot be updated because AutoRemove is enabled for the container/,
  )
})

test('info and ping follow the version', async () => {
  type Info = { BridgeNfIptables?: boolean; RuncCommit: { Expected?: string }; FirewallBackend?: object }
  const old = await daemon.json<Info>('GET', '/v1.45/info')
  assert.deepEqual(
    [old.BridgeNfIptables, typeof old.RuncCommit.Expected, old.FirewallBackend],
    [false, 'string', undefined],
  )
  const fresh = await daemon.json<Info>('GET', '/v1.55/info')
  assert.deepEqual(
    [fresh.BridgeNfIptables, fresh.RuncCommit.Expected, fresh.FirewallBackend],
    [undefined, undefined, { Driver: 'nftables' }],
  )
  assert.equal((await daemon.api('HEAD', '/_ping')).headers['content-length'], '0')
})
