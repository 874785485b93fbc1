import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { until } from './harness/shell.ts'

/** Which events each verb publishes, in which order, with which attributes: as Docker's. */
let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)

interface Seen {
  Action: string
  Actor: { ID: string; Attributes: Record<string, string> }
}

/** Every container has these; our own are told apart by their name. */
const usual = ['image', 'name']

/** `action key=value …` of each event of a container, without what has its own names in every run. */
const eventsOf = async (name: string): Promise<string[]> => {
  const { Events } = await daemon.json<{ Events: Seen[] }>(
    'GET',
    `/berth/v1/events?order=oldest&type=container&limit=1000&object=${name}`,
  )
  return Events.map(({ Action, Actor }) => {
    const more = Object.entries(Actor.Attributes)
      .filter(([key]) => !usual.includes(key) && !key.startsWith('berth.'))
      .map(([key, value]) => {
        // Its seconds are the machine's.
        if (key === 'execDuration') return key
        return `${key}=${/^[a-f0-9]{64}$|^sha256:/.test(value) ? 'ID' : value}`
      })
      .sort()
    return [Action, ...more].join(' ')
  })
}

const trapping = ['busybox', 'sh', '-c', 'trap "exit 0" TERM; echo ready; while :; do sleep 0.05; done']
const start = async (name: string, ...options: string[]): Promise<void> => {
  await docker('run', '-d', '--name', name, ...options, ...trapping)
  await until('it traps', async () => (await docker('logs', name)) === 'ready')
}
const begun = ['create', 'start']

test('each has the labels, the image and the name', async () => {
  await docker('create', '--name', 'labelled', '--label', 'tier=front', 'busybox')
  const { Events } = await daemon.json<{ Events: Seen[] }>('GET', '/berth/v1/events?object=labelled')
  assert.deepEqual(Events[0]?.Actor.Attributes, { tier: 'front', image: 'busybox', name: 'labelled' })
})

test('run in the foreground', async () => {
  await daemon.docker(['run', '--name', 'front', 'busybox', 'sh', '-c', 'exit 3'])
  await until('it ended', async () => (await eventsOf('front')).length === 4)
  assert.deepEqual(await eventsOf('front'), ['create', 'attach', 'start', 'die execDuration exitCode=3'])
})

test('run --rm', async () => {
  await docker('run', '--rm', '--name', 'passing', 'busybox', 'true')
  await until('it is gone', async () => (await eventsOf('passing')).includes('destroy'))
  assert.deepEqual((await eventsOf('passing')).slice(-2), ['die execDuration exitCode=0', 'destroy'])
})

test('stop, with time and without', async () => {
  await start('halted')
  await docker('stop', 'halted')
  const polite = ['kill signal=15', 'die execDuration exitCode=0', 'stop']
  assert.deepEqual(await eventsOf('halted'), [...begun, ...polite])
  await docker('run', '-d', '--name', 'forced', 'busybox', 'sleep', '1000')
  await docker('stop', '-t', '0', 'forced')
  const forced = ['kill signal=15', 'kill signal=9', 'die execDuration exitCode=137', 'stop']
  assert.deepEqual(await eventsOf('forced'), [...begun, ...forced])
  await docker('stop', 'forced')
  assert.equal((await eventsOf('forced')).length, 6, 'one that does not run tells nothing')
})

test('restart', async () => {
  await start('again')
  await docker('restart', 'again')
  const rest = ['kill signal=15', 'die execDuration exitCode=0', 'stop', 'start', 'restart']
  assert.deepEqual(await eventsOf('again'), [...begun, ...rest])
})

test('kill, pause, unpause, and the kill of one that is paused', async () => {
  await start('shot')
  await docker('kill', '-s', 'USR2', 'shot').catch(() => {})
  await docker('kill', 'shot')
  assert.equal((await eventsOf('shot')).includes('kill signal=12'), true)
  await docker('start', 'shot')
  await docker('pause', 'shot')
  await docker('unpause', 'shot')
  await docker('pause', 'shot')
  await docker('kill', 'shot')
  const seen = await eventsOf('shot')
  assert.deepEqual(
    seen.slice(seen.lastIndexOf('start'), seen.indexOf('kill signal=9', seen.lastIndexOf('pause'))),
    [...['start', 'pause', 'unpause', 'pause']],
  )
  // Whether it is seen to run on before it ends is a matter of luck.
  const end = seen.slice(seen.lastIndexOf('pause') + 1).filter(line => line !== 'unpause')
  assert.deepEqual(end, ['kill signal=9', 'die execDuration exitCode=137'])
})

test('rm -f of one that runs', async () => {
  await start('gone')
  await docker('rm', '-f', 'gone')
  const rest = ['kill signal=9', 'die execDuration exitCode=137', 'destroy']
  assert.deepEqual(await eventsOf('gone'), [...begun, ...rest])
})

test('exec', async () => {
  await start('host')
  await daemon.docker(['exec', 'host', 'sh', '-c', 'exit 4'])
  await docker('exec', 'host', 'true')
  assert.deepEqual((await eventsOf('host')).slice(2), [
    ...['exec_create: sh -c exit 4 execID=ID', 'exec_start: sh -c exit 4 execID=ID'],
    'exec_die execID=ID exitCode=4',
    // Docker has a space behind the program, arguments or not.
    ...['exec_create: true  execID=ID', 'exec_start: true  execID=ID', 'exec_die execID=ID exitCode=0'],
  ])
})

test('rename, update, top, resize, cp, export, commit', async () => {
  await docker('run', '-dt', '--name', 'old', 'busybox', 'sleep', '1000')
  await docker('rename', 'old', 'many')
  await docker('update', '--restart', 'no', 'many')
  await docker('top', 'many')
  assert.equal((await daemon.api('POST', '/containers/many/resize?h=40&w=120')).status, 200)
  const file = path.join(daemon.base, 'file')
  writeFileSync(file, 'x')
  await docker('cp', file, 'many:/file')
  await docker('cp', 'many:/file', `${file}.back`)
  await docker('export', '-o', `${file}.tar`, 'many')
  await docker('commit', '-m', 'words', '-p', 'many', 'kept:1')
  const seen = await eventsOf('many')
  assert.deepEqual(
    seen.filter(line => !line.startsWith('pause') && !line.startsWith('unpause')),
    [
      ...['rename oldName=/old', 'update', 'top', 'resize height=40 width=120'],
      ...['extract-to-dir', 'archive-path', 'export'],
      'commit comment=words imageID=ID imageRef=kept:1',
    ],
  )
})

test('out of memory', async () => {
  await docker(
    'run',
    '-d',
    '--name',
    'hungry',
    '-m',
    '16m',
    '--memory-swap',
    '16m',
    'busybox',
    'tail',
    '/dev/zero',
  )
  await until('it ended', async () => (await eventsOf('hungry')).some(line => line.startsWith('die')))
  assert.deepEqual(await eventsOf('hungry'), [...begun, 'oom', 'die execDuration exitCode=137'])
})

test('health', async () => {
  const check = ['--health-cmd', 'test -e /well', '--health-interval', '50ms', '--health-retries', '1']
  await docker('run', '-d', '--name', 'ill', ...check, 'busybox', 'sleep', '1000')
  const statuses = async (): Promise<string[]> =>
    (await eventsOf('ill')).filter(line => line.startsWith('health_status'))
  await until('unhealthy', async () => (await statuses()).length === 1)
  await docker('exec', 'ill', 'touch', '/well')
  await until('healthy', async () => (await statuses()).length === 2)
  assert.deepEqual(await statuses(), ['health_status: unhealthy', 'health_status: healthy'])
  assert.ok((await eventsOf('ill')).includes('exec_die execID=ID exitCode=1'))
  await docker('rm', '-f', 'ill')
})
