import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
  await docker(
    'run',
    '-d',
    '--name',
    'busy',
    '--memory',
    '64m',
    '--pids-limit',
    '50',
    'busybox',
    'sh',
    '-c',
    'sleep 1000 & exec sleep 2000',
  )
  await docker('create', '--name', 'idle', 'busybox')
})
after(() => daemon.close())

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)

interface Sample {
  id: string
  name: string
  read: string
  preread: string
  cpu_stats: { cpu_usage: { total_usage: number }; system_cpu_usage?: number; online_cpus?: number }
  precpu_stats: { cpu_usage: { total_usage: number }; system_cpu_usage?: number }
  memory_stats: { usage?: number; limit?: number; stats?: object }
  pids_stats: { current?: number; limit?: number }
  networks?: Record<string, { rx_bytes: number }>
}

const noTime = '0001-01-01T00:00:00Z'

/** A stream of samples; `next` waits for one, undefined at the end. */
const follow = async (container: string) => {
  const req = request({
    socketPath: daemon.socket,
    path: `/containers/${container}/stats`,
    headers: { Host: 'docker' },
  })
  req.end()
  const [res] = await once(req, 'response')
  res.on('error', () => {})
  req.on('error', () => {})
  const lines = createInterface({ input: res })[Symbol.asyncIterator]()
  return {
    next: async (): Promise<Sample | undefined> => {
      const { value, done } = await lines.next()
      return done ? undefined : (JSON.parse(value) as Sample)
    },
    leave: () => req.destroy(),
  }
}

test('top shows the container’s processes by the host’s ps', async () => {
  const table = await daemon.json<{ Titles: string[]; Processes: string[][] }>('GET', '/containers/busy/top')
  assert.deepEqual(table.Titles, ['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD'])
  assert.deepEqual(table.Processes.map(cells => cells.at(-1)).sort(), ['sleep 1000', 'sleep 2000'])
  const chosen = await docker('top', 'busy', '-o', 'pid,args')
  assert.match(chosen, /^PID +COMMAND\n\d+ +sleep \d+\n\d+ +sleep \d+$/)
})

test('top refuses what does not run, and tells what ps said', async () => {
  const idle = await daemon.api('GET', '/containers/idle/top')
  assert.equal(idle.status, 409)
  assert.match(idle.text, /is not running/)
  assert.match(
    (await daemon.docker(['top', 'busy', '--no-such-option'])).stderr,
    /ps: error: unknown gnu long option/,
  )
  assert.match(
    (await daemon.docker(['top', 'busy', '-o', 'args=PID'])).stderr,
    /specifying "args=PID" is not allowed/,
  )
  assert.match(
    (await daemon.docker(['top', 'busy', '-o', 'args'])).stderr,
    /Couldn't find PID field in ps output/,
  )
})

test('one sample has nothing to compare with, two have', async () => {
  const one = await daemon.json<Sample>('GET', '/containers/busy/stats?stream=0&one-shot=1')
  assert.deepEqual([one.name, one.preread, one.precpu_stats.cpu_usage.total_usage], ['/busy', noTime, 0])
  assert.equal(one.memory_stats.limit, 64 * 1024 * 1024)
  assert.deepEqual(one.pids_stats, { current: 2, limit: 50 })
  assert.ok((one.memory_stats.usage ?? 0) > 0 && (one.cpu_stats.system_cpu_usage ?? 0) > 0)
  assert.ok(one.networks?.['eth0'])
  const two = await daemon.json<Sample>('GET', '/containers/busy/stats?stream=0')
  assert.ok(two.preread !== noTime && two.preread < two.read)
  assert.ok((two.precpu_stats.system_cpu_usage ?? 0) < (two.cpu_stats.system_cpu_usage ?? 0))
})

test('a container that does not run uses nothing', async () => {
  const sample = await daemon.json<Sample>('GET', '/containers/idle/stats?stream=0')
  assert.deepEqual(
    [sample.read, sample.memory_stats, sample.pids_stats, sample.cpu_stats.cpu_usage.total_usage],
    [noTime, {}, {}, 0],
  )
  assert.equal((await daemon.api('GET', '/containers/nobody/stats')).status, 404)
})

test('a stream goes on over the end of a container until it is removed', async () => {
  await docker('run', '-d', '--name', 'going', 'busybox', 'sleep', '1000')
  const stream = await follow('going')
  const first = await stream.next()
  const second = await stream.next()
  assert.deepEqual([first?.preread, second?.preread], [noTime, first?.read])
  await docker('kill', 'going')
  let sample = await stream.next()
  while (sample && sample.read !== noTime) sample = await stream.next()
  assert.deepEqual(sample?.memory_stats, {})
  await docker('rm', 'going')
  while (sample) sample = await stream.next()
})

test('listeners share samples, and each may leave', async () => {
  const [a, b] = [await follow('busy'), await follow('busy')]
  const seen = new Set([(await a.next())?.read, (await a.next())?.read, (await a.next())?.read])
  const others = [(await b.next())?.read, (await b.next())?.read]
  assert.ok(others.some(read => seen.has(read)))
  a.leave()
  assert.ok(await b.next())
  b.leave()
  assert.match(await docker('stats', '--no-stream', '--format', '{{.Name}} {{.PIDs}}', 'busy'), /^busy 2$/)
})
