import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { until } from './harness/shell.ts'

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)
const state = async (name: string): Promise<Record<string, unknown>> =>
  JSON.parse(await docker('inspect', '-f', '{{json .State}}', name)) as Record<string, unknown>

test('create, start, pause, unpause, stop, restart, rename, rm', async () => {
  await docker('create', '--name', 'one', 'busybox', 'sleep', '1000')
  assert.equal((await state('one'))['Status'], 'created')
  await docker('start', 'one')
  assert.equal((await state('one'))['Status'], 'running')
  await docker('pause', 'one')
  assert.equal((await state('one'))['Status'], 'paused')
  const exec = await daemon.docker(['exec', 'one', 'true'])
  assert.match(exec.stderr, /is paused, unpause the container before exec/)
  await docker('unpause', 'one')
  await docker('rename', 'one', 'two')
  const before = (await state('two'))['StartedAt']
  await docker('restart', '-t', '0', 'two')
  assert.notEqual((await state('two'))['StartedAt'], before)
  const running = await daemon.docker(['rm', 'two'])
  assert.match(
    running.stderr,
    /cannot remove container "two": container is running: stop the container before removal or force remove/,
  )
  await docker('stop', '-t', '0', 'two')
  assert.equal((await state('two'))['ExitCode'], 137)
  await docker('rm', 'two')
  assert.match((await daemon.docker(['inspect', 'two'])).stderr, /No such object: two|No such container: two/)
})

test('stop sends the stop signal first, then kills', async () => {
  await docker(
    'run',
    '-d',
    '--name',
    'polite',
    'busybox',
    'sh',
    '-c',
    'trap "echo bye; exit 5" TERM; while true; do sleep 0.05; done',
  )
  await docker('stop', 'polite')
  assert.equal((await state('polite'))['ExitCode'], 5)
  assert.equal(await docker('logs', 'polite'), 'bye')
  await docker(
    'run',
    '-d',
    '--name',
    'usr',
    '--stop-signal',
    'USR1',
    'busybox',
    'sh',
    '-c',
    'trap "exit 6" USR1; while true; do sleep 0.05; done',
  )
  await docker('stop', 'usr')
  assert.equal((await state('usr'))['ExitCode'], 6)
})

test('ps shows and filters', async () => {
  await docker(
    'run',
    '-d',
    '--name',
    'shown',
    '--label',
    'tier=front',
    '-p',
    '127.0.0.1:9090:80',
    'busybox',
    'sleep',
    '1000',
  )
  await docker('create', '--name', 'still', '--label', 'tier=back', 'busybox', 'true')
  const names = async (...args: string[]): Promise<string[]> =>
    (await docker('ps', '--format', '{{.Names}}', ...args)).split('\n').filter(Boolean).sort()
  assert.ok((await names()).includes('shown'))
  assert.ok(!(await names()).includes('still'))
  assert.deepEqual(await names('-a', '--filter', 'label=tier'), ['shown', 'still'])
  assert.deepEqual(await names('--filter', 'label=tier=front'), ['shown'])
  assert.deepEqual(await names('--filter', 'status=created'), ['still'])
  assert.deepEqual(await names('-a', '--filter', 'name=^/sho'), ['shown'])
  assert.deepEqual(await names('--filter', 'publish=9090', '--filter', 'network=bridge'), ['shown'])
  assert.deepEqual(await names('-a', '--filter', 'ancestor=busybox', '--filter', 'label=tier'), [
    'shown',
    'still',
  ])
  assert.deepEqual(await names('-n', '1'), ['still'])
  assert.equal(
    await docker('ps', '--filter', 'name=shown', '--format', '{{.Ports}}'),
    '127.0.0.1:9090->80/tcp',
  )
  assert.match(await docker('ps', '-s', '--filter', 'name=shown', '--format', '{{.Size}}'), /virtual/)
  assert.match((await daemon.docker(['ps', '--filter', 'nonsense=1'])).stderr, /invalid filter 'nonsense'/)
})

test('names conflict as Docker says', async () => {
  await docker('create', '--name', 'taken', 'busybox', 'true')
  const again = await daemon.docker(['create', '--name', 'taken', 'busybox', 'true'])
  assert.match(
    again.stderr,
    /Conflict\. The container name "\/taken" is already in use by container "[0-9a-f]{64}"\. You have to remove \(or rename\) that container/,
  )
  assert.match(
    (await daemon.docker(['create', '--name', '-x', 'busybox', 'true'])).stderr,
    /Invalid container name \(-x\), only/,
  )
  await docker('create', '--name', 'other', 'busybox', 'true')
  const renamed = await daemon.docker(['rename', 'other', 'taken'])
  assert.match(renamed.stderr, /Error when allocating new name: Conflict\. The container name "\/taken"/)
  const { stderr } = await daemon.docker(['run', '--rm', '-u', 'stranger', 'busybox', 'true'])
  assert.equal(
    stderr,
    'docker: Error response from daemon: unable to find user stranger: no matching entries in passwd file.\n',
  )
})

test('update changes limits of a running container', async () => {
  await docker('run', '-d', '--name', 'grow', '-m', '32m', 'busybox', 'sleep', '1000')
  await docker('update', '-m', '64m', '--memory-swap', '128m', '--restart', 'unless-stopped', 'grow')
  assert.equal(
    await docker(
      'exec',
      'grow',
      'sh',
      '-c',
      'cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes',
    ),
    '67108864',
  )
  assert.equal(
    await docker('inspect', '-f', '{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}', 'grow'),
    '67108864 unless-stopped',
  )
  await docker('rm', '-f', 'grow')
})

test('restart policies: on-failure counts, always goes on, a stop ends it', async () => {
  await docker(
    'run',
    '-d',
    '--name',
    'thrice',
    '--restart',
    'on-failure:2',
    'busybox',
    'sh',
    '-c',
    'echo run; exit 1',
  )
  await until(
    'it gave up',
    async () =>
      (await state('thrice'))['Status'] === 'exited' && (await docker('logs', 'thrice')) === 'run\nrun\nrun',
  )
  assert.equal(await docker('inspect', '-f', '{{.RestartCount}}', 'thrice'), '2')
  await docker(
    'run',
    '-d',
    '--name',
    'forever',
    '--restart',
    'always',
    'busybox',
    'sh',
    '-c',
    'echo run; sleep 0.1',
  )
  await until('it ran thrice', async () => (await docker('logs', 'forever')).split('\n').length >= 3)
  await docker('stop', '-t', '0', 'forever')
  assert.equal((await state('forever'))['Status'], 'exited')
  await docker('rm', 'forever')
})

test('health checks turn healthy and unhealthy, with their output', async () => {
  await docker(
    'run',
    '-d',
    '--name',
    'ill',
    '--health-cmd',
    'test -f /tmp/well || { echo not well; exit 1; }',
    '--health-interval',
    '100ms',
    '--health-retries',
    '2',
    'busybox',
    'sleep',
    '1000',
  )
  const health = async () =>
    JSON.parse(await docker('inspect', '-f', '{{json .State.Health}}', 'ill')) as {
      Status: string
      Log: { Output: string; ExitCode: number }[]
    }
  await until('unhealthy', async () => (await health()).Status === 'unhealthy')
  assert.equal((await health()).Log.at(-1)?.Output, 'not well\n')
  assert.match(await docker('ps', '--filter', 'name=ill', '--format', '{{.Status}}'), /\(unhealthy\)/)
  await docker('exec', 'ill', 'touch', '/tmp/well')
  await until('healthy', async () => (await health()).Status === 'healthy')
  // As Docker says of one that nobody probes any more.
  await docker('kill', 'ill')
  assert.equal((await health()).Status, 'unhealthy')
  await docker('rm', '-f', 'ill')
})

test('wait answers each condition', async () => {
  await docker('run', '-d', '--name', 'brief', 'busybox', 'sh', '-c', 'sleep 0.5; exit 4')
  assert.equal(await docker('wait', 'brief'), '4')
  assert.equal(await docker('wait', 'brief'), '4')
  const removed = daemon.api('POST', '/containers/brief/wait?condition=removed')
  const next = daemon.api('POST', '/containers/brief/wait?condition=next-exit')
  await docker('start', 'brief')
  assert.equal((await next).text, '{"StatusCode":4}\n')
  await docker('rm', 'brief')
  assert.equal((await removed).text, '{"StatusCode":4}\n')
  assert.equal((await daemon.api('POST', '/containers/shown/wait?condition=sometime')).status, 400)
})

test('prune removes what is stopped', async () => {
  const before = (await docker('ps', '-q')).split('\n').length
  await docker('container', 'prune', '-f')
  assert.equal((await docker('ps', '-aq')).split('\n').length, before)
})
