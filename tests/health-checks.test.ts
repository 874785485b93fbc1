import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { until } from './harness/shell.ts'

/** Health checks, as Docker runs them. */
let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)

interface Health {
  Status: string
  FailingStreak: number
  Log: { Start: string; End: string; ExitCode: number; Output: string }[]
}
const health = async (name: string): Promise<Health> =>
  JSON.parse(await docker('inspect', '-f', '{{json .State.Health}}', name)) as Health
const startedAt = async (name: string): Promise<number> =>
  Date.parse(await docker('inspect', '-f', '{{.State.StartedAt}}', name))
const probed = (name: string, count = 1): Promise<Health> =>
  until(`${name} was probed`, async () => {
    const found = await health(name)
    return found.Log.length >= count ? found : undefined
  })

const run = (name: string, options: string[], ...image: string[]): Promise<string> =>
  docker('run', '-d', '--name', name, ...options, ...(image.length ? image : ['busybox']), 'sleep', '1000')
const checked = (command: string, ...options: string[]): string[] => [
  ...['--health-cmd', command, '--health-interval', '100ms', ...options],
]
/** `Test` as the API takes it, in nanoseconds. */
const create = async (name: string, Test: string[]): Promise<void> => {
  const body = { Image: 'busybox', Cmd: ['sleep', '1000'], Healthcheck: { Test, Interval: 100_000_000 } }
  const { status, text } = await daemon.api('POST', `/containers/create?name=${name}`, body)
  assert.equal(status, 201, text)
  await docker('start', name)
}

test('an image’s check is inherited, changed in part, and turned off', async () => {
  await docker('create', '--name', 'source', 'busybox')
  const change = 'HEALTHCHECK --interval=100ms --retries=7 CMD echo from the image'
  await docker('commit', '--change', change, 'source', 'checked:1')
  await run('inherits', [], 'checked:1')
  assert.equal((await probed('inherits')).Log[0]?.Output, 'from the image\n')
  await run('changes', ['--health-cmd', 'echo own'], 'checked:1')
  assert.equal((await probed('changes')).Log[0]?.Output, 'own\n')
  assert.equal(await docker('inspect', '-f', '{{.Config.Healthcheck.Retries}}', 'changes'), '7')
  await run('off', ['--no-healthcheck'], 'checked:1')
  assert.equal(await health('off'), null)
  await docker('rm', '-f', 'inherits', 'changes', 'off')
})

test('CMD runs a program, CMD-SHELL a shell, and what is of no kind nothing', async () => {
  await create('program', ['CMD', 'echo', '$HOME', 'a  b'])
  await create('shell', ['CMD-SHELL', 'echo $((6 * 7))'])
  await create('neither', ['echo', 'x'])
  assert.equal((await probed('program')).Log[0]?.Output, '$HOME a  b\n')
  assert.equal((await probed('shell')).Log[0]?.Output, '42\n')
  assert.equal(await health('neither'), null)
  await docker('rm', '-f', 'program', 'shell', 'neither')
})

test('five results are kept, with 4096 bytes of what they said', async () => {
  await run('talks', checked('yes 0123456 | head -c 8192'))
  await run('exact', checked('yes 0123456 | head -c 4096'))
  await probed('talks', 5)
  const { Log } = await until('an old one went', async () => {
    const found = await health('talks')
    return Date.parse(found.Log[0]?.Start ?? '') > (await startedAt('talks')) + 300 ? found : undefined
  })
  assert.equal(Log.length, 5)
  assert.equal(Log[0]?.Output, `${'0123456\n'.repeat(512)}...`)
  assert.equal((await probed('exact')).Log[0]?.Output, '0123456\n'.repeat(512))
  await docker('rm', '-f', 'talks', 'exact')
})

test('a probe that takes too long, and one that cannot run, fail with -1 and say so', async () => {
  await run('late', checked('echo so far; sleep 1000', '--health-timeout', '300ms', '--health-retries', '1'))
  const late = await probed('late')
  assert.deepEqual([late.Log[0]?.ExitCode, late.Status], [-1, 'unhealthy'])
  assert.equal(late.Log[0]?.Output, 'Health check exceeded timeout (300ms): so far\n')
  await create('absent', ['CMD', '/no/such/program'])
  const absent = await probed('absent')
  assert.equal(absent.Log[0]?.ExitCode, -1)
  assert.match(absent.Log[0]?.Output ?? '', /OCI runtime exec failed: .*no\/such\/program/)
  await create('empty', ['CMD'])
  assert.match((await probed('empty')).Log[0]?.Output ?? '', /has no command/)
  await docker('rm', '-f', 'late', 'absent', 'empty')
})

test('in the start period failures do not count, and probes come at their own pace', async () => {
  const period = [
    '--health-start-period',
    '1000s',
    '--health-start-interval',
    '50ms',
    '--health-interval',
    '1000s',
  ]
  await run('starts', ['--health-cmd', 'test -e /up', '--health-retries', '1', ...period])
  const failing = await probed('starts', 4)
  assert.deepEqual([failing.Status, failing.FailingStreak, failing.Log[3]?.ExitCode], ['starting', 0, 1])
  await docker('exec', 'starts', 'touch', '/up')
  await until('healthy', async () => (await health('starts')).Status === 'healthy')
  await docker('rm', '-f', 'starts')
})

test('the next run begins anew, what the last one’s probes said stays', async () => {
  await run('twice', checked('echo said', '--health-interval', '1s'))
  await probed('twice')
  await docker('kill', 'twice')
  assert.equal((await health('twice')).Status, 'unhealthy')
  await docker('start', 'twice')
  const { Status, FailingStreak, Log } = await health('twice')
  assert.deepEqual([Status, FailingStreak, Log[0]?.Output], ['starting', 0, 'said\n'])
  await docker('rm', '-f', 'twice')
})

test('a probe that its container was paused under says nothing', async () => {
  await run(
    'paused',
    checked('touch /began; sleep 4; exit 1', '--health-timeout', '300s', '--health-retries', '1'),
  )
  await until(
    'a probe runs',
    async () => (await daemon.docker(['exec', 'paused', 'test', '-e', '/began'])).code === 0,
  )
  await docker('pause', 'paused')
  const before = await health('paused')
  await docker('unpause', 'paused')
  assert.equal(before.Log.length, 0)
  const after = await probed('paused')
  assert.ok(Date.parse(after.Log[0]?.Start ?? '') > (await startedAt('paused')) + 500)
  await docker('rm', '-f', 'paused')
})

const key = 'berth.health-first-probe'
const slow = ['--health-cmd', 'echo early', '--health-interval', '1000s']

test('the first probe comes at once for containers that say so by label or annotation', async () => {
  await run('labelled', [...slow, '--label', `${key}=immediate`])
  await run('annotated', [...slow, '--annotation', `${key}=immediate`])
  await run('usual', slow)
  for (const name of ['labelled', 'annotated'])
    await until(`${name} is healthy`, async () => (await health(name)).Status === 'healthy')
  assert.deepEqual([(await health('usual')).Status, (await health('usual')).Log.length], ['starting', 0])
  const wrong = await daemon.docker(['create', '--label', `${key}=soon`, 'busybox'])
  assert.match(
    wrong.stderr,
    /invalid value "soon" for berth\.health-first-probe: use one of interval, immediate/,
  )
  await docker('rm', '-f', 'labelled', 'annotated', 'usual')
})

test('the daemon’s option is for those that say nothing', async () => {
  await daemon.kill('SIGTERM')
  await daemon.start({ flags: ['--health-first-probe=immediate'] })
  await run('usual', slow)
  await run('waits', [...slow, '--label', `${key}=interval`])
  await until('it is healthy', async () => (await health('usual')).Status === 'healthy')
  assert.equal((await health('waits')).Status, 'starting')
  await docker('rm', '-f', 'usual', 'waits')
})

test('probes go on under the next daemon, with what the last one knew', async () => {
  await run('ill', checked('test -e /well', '--health-retries', '1'))
  await until('unhealthy', async () => (await health('ill')).Status === 'unhealthy')
  await daemon.restart()
  assert.equal((await health('ill')).Status, 'unhealthy')
  await docker('exec', 'ill', 'touch', '/well')
  await until('healthy', async () => (await health('ill')).Status === 'healthy')
  await docker('rm', '-f', 'ill')
})
