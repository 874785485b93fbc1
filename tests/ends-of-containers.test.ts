import assert from 'node:assert/strict'
import { existsSync, writeFileSync } from 'node:fs'
import { after, afterEach, before, test } from 'node:test'
import { audit } from './harness/audit.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { groupOwners } from './harness/groups.ts'
import { until } from './harness/shell.ts'
import { lastEnd } from './harness/why.ts'

/** A container ends with its first process: true exit code, nothing of it stays, everybody who waits is told. */
let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon({ flags: ['--default-stop-timeout', '1'] })
  await daemon.loadBusybox()
})
afterEach(async () => {
  const ids = (await daemon.mustDocker(['ps', '-aq'])).split('\n').filter(Boolean)
  if (ids.length) await daemon.mustDocker(['rm', '-f', ...ids])
  await audit(daemon)
})
after(() => daemon.close())

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)

/** Leaves a process behind that is nobody's child, holds the output open, and wants to live on. */
const forksTwice = (code: number, before = ''): string[] => [
  ...['busybox', 'sh', '-c'],
  `(setsid sh -c 'trap "" TERM HUP; echo $$; while :; do sleep 1000; done' &) ; ${before} sleep 0.3; exit ${code}`,
]

const ways: [name: string, options: string[]][] = [
  ['a process namespace of its own', []],
  ['an init', ['--init']],
  ['the host’s processes', ['--pid', 'host']],
  ['the host’s processes and an init', ['--pid', 'host', '--init']],
  ['another container’s processes', ['--pid', 'container:owner']],
]

for (const [name, options] of ways)
  test(`with ${name}: what the first process left behind goes with it`, async () => {
    await docker('run', '-d', '--name', 'owner', 'busybox', 'sleep', '1000')
    await docker('create', '--name', 'parent', ...options, ...forksTwice(7))
    const attached = daemon.docker(['start', '-a', 'parent'])
    const waiting = daemon.json<{ StatusCode: number }>('POST', '/containers/parent/wait?condition=next-exit')
    const { code, stdout } = await attached
    assert.equal(code, 7)
    assert.match(stdout, /^\d+\n$/)
    assert.equal((await waiting).StatusCode, 7)
    assert.equal((await lastEnd(daemon, 'parent')).ExitCode, 7)
    // The pid is the host's where the namespace is.
    if (options.includes('host')) await until('it is gone', () => !existsSync(`/proc/${stdout.trim()}`))
    await docker('rm', '-f', 'owner')
    await until('no process is left', () => groupOwners(daemon.execRoot).length === 0)
  })

for (const [name, options] of ways.slice(0, 3))
  test(`with ${name}, while no daemon is there`, async () => {
    await docker(
      'create',
      '--name',
      'parent',
      ...options,
      ...forksTwice(8, 'until test -e /go; do sleep 0.05; done;'),
    )
    const attached = daemon.docker(['start', '-a', 'parent'])
    await until('it runs', async () => (await daemon.docker(['exec', 'parent', 'true'])).code === 0)
    const pid = await docker('inspect', '-f', '{{.State.Pid}}', 'parent')
    await daemon.kill()
    writeFileSync(`/proc/${pid}/root/go`, '')
    await until('its first process ended', () => !existsSync(`/proc/${pid}`))
    await daemon.start()
    assert.equal((await lastEnd(daemon, 'parent')).ExitCode, 8)
    assert.equal((await attached).code, 8)
    await until('no process is left', () => groupOwners(daemon.execRoot).length === 0)
  })

const stubborn = ['busybox', 'sh', '-c', 'trap "echo asked" TERM; while :; do sleep 0.05; done']
const signals = async (name: string): Promise<string[]> => {
  const { Events } = await daemon.json<{ Events: { Actor: { Attributes: Record<string, string> } }[] }>(
    'GET',
    `/berth/v1/events?order=oldest&action=kill&object=${name}`,
  )
  return Events.map(({ Actor }) => Actor.Attributes['signal'] ?? '')
}

test('the time to stop is the call’s, the container’s, the daemon’s', async () => {
  await docker('run', '-d', '--name', 'daemons', ...stubborn)
  await docker('stop', 'daemons')
  assert.deepEqual(await signals('daemons'), ['15', '9'])
  await docker('run', '-d', '--name', 'lenient', '--stop-timeout', '-1', ...stubborn)
  const patient = daemon.docker(['stop', 'lenient'])
  // Longer than the daemon's own would be.
  await new Promise(resolve => setTimeout(resolve, 2000))
  assert.deepEqual(await signals('lenient'), ['15'])
  await docker('stop', '-t', '0', 'lenient')
  assert.equal((await patient).code, 0)
  assert.deepEqual(await signals('lenient'), ['15', '15', '9'])
})

test('the signal to stop is the call’s, the container’s, SIGTERM', async () => {
  const tells =
    'for s in TERM USR1 USR2; do trap "echo $s; exit 0" $s; done; echo ready; while :; do sleep 0.05; done'
  const told = async (name: string, options: string[], stop: string[]): Promise<string> => {
    await docker('run', '-d', '--name', name, ...options, 'busybox', 'sh', '-c', tells)
    await until('it listens', async () => (await docker('logs', name)) === 'ready')
    await docker('stop', ...stop, name)
    return (await docker('logs', name)).replace('ready\n', '')
  }
  assert.equal(await told('usual', [], []), 'TERM')
  assert.equal(await told('own', ['--stop-signal', 'SIGUSR1'], []), 'USR1')
  assert.equal(await told('asked', ['--stop-signal', 'SIGUSR1'], ['-s', 'USR2']), 'USR2')
  // As docker kill with the signal to stop: no restart policy undoes it.
  await docker(
    'run',
    '-d',
    '--name',
    'kept',
    '--restart',
    'always',
    '--stop-signal',
    'USR1',
    'busybox',
    'sh',
    '-c',
    tells,
  )
  await until('it listens', async () => (await docker('logs', 'kept')) === 'ready')
  await docker('kill', '-s', 'USR1', 'kept')
  assert.equal((await lastEnd(daemon, 'kept')).Outcome.What, 'stayed')
})

test('a paused one is stopped, and killed with the signal to stop', async () => {
  for (const verb of [['stop'], ['kill', '-s', 'TERM'], ['kill'], ['rm', '-f']]) {
    await docker('run', '-d', '--name', 'still', '--init', 'busybox', 'sleep', '1000')
    await docker('pause', 'still')
    await docker(...verb, 'still')
    if (verb[0] !== 'rm') {
      await lastEnd(daemon, 'still')
      await docker('rm', 'still')
    }
  }
})
