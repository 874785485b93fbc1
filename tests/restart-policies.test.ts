import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { until } from './harness/shell.ts'
import { lastEnd, why } from './harness/why.ts'

/** What restart policies do after ends, calls, deaths of the daemon and boots of the host. */
let daemon: TestDaemon
let boots = 0
const boot = () => ({ env: { BERTH_TEST_BOOT_ID: `boot ${boots}` } })
before(async () => {
  daemon = await startDaemon(boot())
  await daemon.loadBusybox()
})
after(() => daemon.close())

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)
const run = (name: string, policy: string, ...command: string[]): Promise<string> =>
  docker('run', '-d', '--name', name, '--restart', policy, 'busybox', ...command)
const status = (name: string): Promise<string> => docker('inspect', '-f', '{{.State.Status}}', name)
const count = async (name: string): Promise<number> =>
  Number(await docker('inspect', '-f', '{{.RestartCount}}', name))
const is = (name: string, wanted: string): Promise<boolean> =>
  until(`${name} is ${wanted}`, async () => (await status(name)) === wanted)

const bootAgain = async (): Promise<void> => {
  await daemon.loseKernelObjects()
  boots++
  await daemon.start(boot())
}

test('the pause between two doubles, and what waits is counted', async () => {
  await run('falls', 'always', 'false')
  await until(
    'what follows its fifth end is known',
    async () => (await why(daemon, 'falls')).Ends.at(-5)?.Outcome.DelayMilliseconds !== undefined,
  )
  const { Ends } = await why(daemon, 'falls')
  assert.deepEqual(
    Ends.toReversed()
      .slice(0, 5)
      .map(({ Outcome }) => [Outcome.DelayMilliseconds, Outcome.Count]),
    [100, 200, 400, 800, 1600].map((delay, index) => [delay, index + 1]),
  )
  await is('falls', 'restarting')
  assert.ok((await count('falls')) >= 5)
  await docker('rm', '-f', 'falls')
})

test('on-failure leaves one alone that ended well; no restarts nobody', async () => {
  await run('well', 'on-failure', 'true')
  await run('once', 'no', 'false')
  assert.equal((await lastEnd(daemon, 'well')).Outcome.What, 'stayed')
  assert.equal((await lastEnd(daemon, 'once')).Outcome.What, 'stayed')
  assert.deepEqual([await status('well'), await status('once')], ['exited', 'exited'])
})

test('a start that fails is not tried again', async () => {
  await docker(
    ...['run', '-d', '--name', 'broken', '--restart', 'always', '-v', `${daemon.base}/tool:/tool`, 'busybox'],
    ...['sh', '-c', 'rm -rf /bin/sh; exit 1'],
  )
  await is('broken', 'exited')
  const { Ends } = await why(daemon, 'broken')
  assert.deepEqual([Ends[0]?.Cause, Ends[0]?.Outcome.What], ['start-failed', 'gave-up'])
  assert.deepEqual([Ends[1]?.Cause, Ends[1]?.Next?.Cause], ['exit', 'restart-policy'])
})

test('the restarts of one that is started by hand count from zero', async () => {
  await run('counted', 'on-failure:1', 'false')
  await is('counted', 'exited')
  assert.equal(await count('counted'), 1)
  await docker('start', 'counted')
  await lastEnd(daemon, 'counted', 4)
  assert.deepEqual([await status('counted'), await count('counted')], ['exited', 1])
})

test('a kill while it waits calls the restart off, also for the next daemon', async () => {
  await run('waits', 'always', 'false')
  await until(
    'it waits longer',
    async () => (await count('waits')) >= 6 && (await status('waits')) === 'restarting',
  )
  await docker('kill', 'waits')
  assert.equal(await status('waits'), 'exited')
  await daemon.restart(boot())
  // Its policy starts it with the daemon, and it ends anew: perhaps before this is read.
  const { Ends } = await why(daemon, 'waits')
  const called = Ends.find(({ Outcome }) => Outcome.What === 'cancelled')
  assert.equal(called?.Outcome.Verb, 'kill')
  assert.ok(['daemon-start', undefined].includes(called.Next?.Cause))
  await docker('rm', '-f', 'waits')
})

test('a restart that waits goes on after the daemon died, counted once', async () => {
  await run('carried', 'on-failure:4', 'false')
  await until(
    'it waits',
    async () => (await count('carried')) === 3 && (await status('carried')) === 'restarting',
  )
  await daemon.kill()
  await daemon.start(boot())
  await is('carried', 'exited')
  assert.equal(await count('carried'), 4)
  assert.deepEqual((await why(daemon, 'carried')).Ends[0]?.Outcome, { What: 'gave-up', Count: 4 })
})

test('docker update --restart counts at the next end', async () => {
  await run('changed', 'always', 'sleep', '1000')
  await docker('update', '--restart', 'no', 'changed')
  process.kill(Number(await docker('inspect', '-f', '{{.State.Pid}}', 'changed')), 'SIGKILL')
  await is('changed', 'exited')
  await docker('start', 'changed')
  await docker('update', '--restart', 'on-failure:3', 'changed')
  process.kill(Number(await docker('inspect', '-f', '{{.State.Pid}}', 'changed')), 'SIGKILL')
  await until(
    'it runs again',
    async () => (await status('changed')) === 'running' && (await count('changed')) === 1,
  )
  await docker('rm', '-f', 'changed')
})

test('after a boot: what was stopped stays so with unless-stopped, not with always', async () => {
  await run('kept', 'unless-stopped', 'sleep', '1000')
  await run('stopped', 'unless-stopped', 'sleep', '1000')
  await run('always', 'always', 'sleep', '1000')
  await docker('create', '--name', 'never', '--restart', 'always', 'busybox', 'sleep', '1000')
  await docker('stop', '-t', '0', 'stopped', 'always')
  await bootAgain()
  await is('kept', 'running')
  await is('always', 'running')
  assert.deepEqual([await status('stopped'), await status('never')], ['exited', 'created'])
  assert.equal((await why(daemon, 'always')).Start?.Cause, 'daemon-start')
  assert.equal((await why(daemon, 'kept')).Start?.Cause, 'restart-policy')
  await docker('rm', '-f', 'kept', 'stopped', 'always', 'never')
})

test('what joins a container’s namespaces starts after it, by name or id', async () => {
  await run('base', 'always', 'sleep', '1000')
  for (const [kind, name] of [
    ['network', 'net'],
    ['pid', 'proc'],
  ])
    await docker(
      ...['run', '-d', '--name', name ?? '', '--restart', 'always', `--${kind}`, 'container:base'],
      ...['busybox', 'sleep', '1000'],
    )
  for (let round = 0; round < 2; round++) {
    await bootAgain()
    for (const name of ['base', 'net', 'proc']) await is(name, 'running')
    for (const name of ['net', 'proc'])
      assert.equal((await why(daemon, name)).Ends[0]?.Cause, 'host-restart', name)
  }
  await docker('rm', '-f', 'net', 'proc', 'base')
})

test('what cannot be joined is told in Docker’s words', async () => {
  await docker('create', '--name', 'off', 'busybox', 'sleep', '1000')
  const refused = async (...options: string[]): Promise<string> =>
    (await daemon.docker(['run', '--rm', ...options, 'busybox', 'true'])).stderr
  assert.match(
    await refused('--network', 'container:off'),
    /cannot join network namespace of a non running container: container off is created/,
  )
  assert.match(
    await refused('--pid', 'container:off'),
    /failed to join PID namespace: container \w+ is not running/,
  )
  assert.match(await refused('--network', 'container:none'), /No such container: none/)
  await run('restless', 'always', 'false')
  await until(
    'it waits longer',
    async () => (await status('restless')) === 'restarting' && (await count('restless')) >= 6,
  )
  assert.match(
    await refused('--network', 'container:restless'),
    /cannot join network namespace of container: Container \w+ is restarting, wait until the container is running/,
  )
  const exec = await daemon.docker(['exec', 'restless', 'true'])
  assert.match(exec.stderr, /Container \w+ is restarting, wait until the container is running/)
  await docker('rm', '-f', 'restless', 'off')
})

test('who shares the network of one that restarts keeps what it has', async () => {
  await docker('run', '-d', '--name', 'front', 'busybox', 'sleep', '1000')
  await docker('run', '-d', '--name', 'side', '--network', 'container:front', 'busybox', 'sleep', '1000')
  await docker('restart', '-t', '0', 'front')
  assert.deepEqual([await status('front'), await status('side')], ['running', 'running'])
  assert.equal(await docker('exec', 'side', 'echo', 'alive'), 'alive')
  await docker('restart', '-t', '0', 'side')
  assert.equal(
    await docker('exec', 'side', 'hostname', '-i'),
    await docker('exec', 'front', 'hostname', '-i'),
  )
  await docker('rm', '-f', 'front')
  assert.equal(await docker('exec', 'side', 'echo', 'alive'), 'alive')
  const again = await daemon.docker(['restart', '-t', '0', 'side'])
  assert.match(again.stderr, /joining network namespace of container: No such container: \w+/)
  await docker('rm', '-f', 'side')
})
