import assert from 'node:assert/strict'
import { chmodSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { monitorsOf } from './harness/monitors.ts'
import { must, until } from './harness/shell.ts'
import { lastEnd, why } from './harness/why.ts'

/** Why containers ended and were started again, told for every cause, whatever became of the daemon. */
let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)
const run = (name: string, options: string[], ...command: string[]): Promise<string> =>
  docker('run', '-d', '--name', name, ...options, 'busybox', ...command)
const sleeper = (name: string, ...options: string[]): Promise<string> => run(name, options, 'sleep', '1000')
const pidOf = async (name: string): Promise<number> =>
  Number(await docker('inspect', '-f', '{{.State.Pid}}', name))

/** Which boot the daemon is told of. */
let boot: Record<string, string> = {}

/** The client, or the loader that it is run with. */
const client = /^(docker|ld-linux.*)$/

test('it ended by itself: exit, with the end of its output', async () => {
  await run('plain', [], 'sh', '-c', 'for i in $(seq 30); do echo line $i; done; echo oops >&2; exit 3')
  const end = await lastEnd(daemon, 'plain')
  assert.deepEqual([end.Cause, end.ExitCode, end.Signal, end.Outcome.What], ['exit', 3, undefined, 'stayed'])
  assert.equal(end.Log?.length, 20)
  assert.deepEqual(
    end.Log?.slice(-2).map(({ Stream, Text }) => [Stream, Text]),
    [
      ['stdout', 'line 30'],
      ['stderr', 'oops'],
    ],
  )
  const { text } = await daemon.api('GET', '/berth/v1/containers/plain/why?format=text&lines=1')
  assert.match(text, /^Container plain is exited: its process ended by itself with exit code 3\.\n/)
  assert.match(text, /ended with 3 after .*: its process ended by itself with exit code 3\.\n {2}! oops\n$/)
})

test('each run has its own output, and tells what began it', async () => {
  await run('twice', [], 'sh', '-c', 'test -e /done && { echo second; exit 0; }; touch /done; echo first')
  await lastEnd(daemon, 'twice')
  await docker('start', 'twice')
  await lastEnd(daemon, 'twice', 2)
  const { Ends } = await why(daemon, 'twice')
  assert.deepEqual(
    Ends.map(({ Log }) => Log?.map(({ Text }) => Text)),
    [['second'], ['first']],
  )
  assert.deepEqual([Ends[1]?.Next?.Cause, Ends[1]?.Next?.Verb, Ends[0]?.Next], ['call', 'start', undefined])
  assert.equal(Ends[1]?.Next?.By?.Process?.Uid, 0)
})

test('a signal from the host: signal', async () => {
  await sleeper('shot')
  process.kill(await pidOf('shot'), 'SIGKILL')
  const end = await lastEnd(daemon, 'shot')
  assert.deepEqual([end.Cause, end.Signal, end.ExitCode, end.By], ['signal', 9, 137, undefined])
})

test('too much memory: oom', async () => {
  await run('hungry', ['-m', '16m', '--memory-swap', '16m'], 'tail', '/dev/zero')
  const end = await lastEnd(daemon, 'hungry')
  assert.deepEqual([end.Cause, end.ExitCode, end.OOMKilled], ['oom', 137, true])
})

test('docker kill and docker restart: killed-by-call, and by whom', async () => {
  await sleeper('called')
  await docker('kill', '-s', 'KILL', 'called')
  const killed = await lastEnd(daemon, 'called')
  assert.deepEqual([killed.Cause, killed.Verb, killed.Signal], ['killed-by-call', 'kill', 9])
  assert.deepEqual([killed.By?.Remote, killed.By?.Process?.Uid], ['unix', 0])
  assert.match(killed.By?.Process?.Name ?? '', client)
  assert.match(killed.By?.UserAgent ?? '', /^Docker-Client\/26/)
  await docker('start', 'called')
  await docker('restart', '-t', '0', 'called')
  const { Start, Ends } = await why(daemon, 'called')
  assert.deepEqual(
    [Ends[0]?.Cause, Ends[0]?.Verb, Ends[0]?.Outcome.What],
    ['killed-by-call', 'restart', 'call'],
  )
  assert.deepEqual([Start?.Cause, Start?.Verb], ['call', 'restart'])
  assert.equal(Ends[0]?.Next?.At, Start?.At)
})

test('a signal that its process takes is not what ends it later', async () => {
  await run(
    'tough',
    [],
    'sh',
    '-c',
    'trap "echo took it" USR1; while ! test -e /go; do sleep 0.05; done; exit 5',
  )
  await docker('kill', '-s', 'USR1', 'tough')
  await until('it took the signal', async () => (await docker('logs', 'tough')) === 'took it')
  await docker('exec', 'tough', 'touch', '/go')
  const end = await lastEnd(daemon, 'tough')
  assert.deepEqual([end.Cause, end.ExitCode, end.By], ['exit', 5, undefined])
})

test('a stop by another user through the socket names that user, the process and the request', async () => {
  await sleeper('theirs')
  chmodSync(daemon.socket, 0o666)
  await must([
    ...['setpriv', '--reuid=1234', '--regid=1234', '--clear-groups', 'curl', '-sf', '-X', 'POST'],
    ...['--unix-socket', daemon.socket, '-H', 'X-Request-ID: r-7', 'http://d/containers/theirs/stop?t=0'],
  ])
  const end = await lastEnd(daemon, 'theirs')
  assert.deepEqual([end.Cause, end.Verb, end.Signal], ['killed-by-call', 'stop', 9])
  assert.deepEqual([end.By?.Process?.Uid, end.By?.Process?.Name], [1234, 'curl'])
  assert.equal(end.By?.RequestId, 'r-7')
  assert.match(end.Text, /docker stop was called by uid 1234, pid \d+ \(curl\), curl\/.*, request r-7/)
})

test('who asked for a stop is known though the daemon died before the end', async () => {
  await run('slow', [], 'sh', '-c', 'trap "sleep 1; exit 6" TERM; echo ready; while :; do sleep 0.05; done')
  await until('it traps', async () => (await docker('logs', 'slow')) === 'ready')
  const stopping = daemon.docker(['stop', 'slow'])
  await until(
    'the signal was sent',
    async () =>
      (await docker(
        'events',
        '--since',
        '1m',
        '--until',
        '0s',
        '--filter',
        'container=slow',
        '--filter',
        'event=kill',
      )) !== '',
  )
  await daemon.kill()
  await daemon.start()
  await stopping
  const end = await lastEnd(daemon, 'slow')
  assert.deepEqual([end.Cause, end.Verb, end.ExitCode], ['killed-by-call', 'stop', 6])
  assert.match(end.By?.Process?.Name ?? '', client)
})

test('its restart policy: how long it waits, how often, and that it gives up', async () => {
  await run('failing', ['--restart', 'on-failure:2'], 'sh', '-c', 'echo try; exit 9')
  const last = await lastEnd(daemon, 'failing', 3)
  assert.deepEqual([last.Cause, last.Outcome], ['exit', { What: 'gave-up', Count: 2 }])
  const { Ends } = await why(daemon, 'failing')
  assert.deepEqual(
    Ends.slice(1).map(({ Outcome }) => Outcome),
    [
      { What: 'restart', DelayMilliseconds: 200, Count: 2 },
      { What: 'restart', DelayMilliseconds: 100, Count: 1 },
    ],
  )
  assert.deepEqual(
    Ends.map(({ Next }) => Next?.Cause),
    [undefined, 'restart-policy', 'restart-policy'],
  )
  assert.match(last.Text, /Its restart policy gave up after 2 restarts\./)
  // Whoever starts it gets the retries anew.
  await docker('start', 'failing')
  assert.equal((await lastEnd(daemon, 'failing', 6)).Outcome.What, 'gave-up')
})

test('a restart that was planned is called off by a stop', async () => {
  await run('back', ['--restart', 'always'], 'false')
  await until(
    'it waits',
    async () =>
      (await docker('inspect', '-f', '{{.State.Status}} {{.RestartCount}}', 'back')) === 'restarting 4',
  )
  await docker('stop', 'back')
  const { Ends, Status } = await why(daemon, 'back')
  assert.deepEqual([Status, Ends[0]?.Outcome.What, Ends[0]?.Outcome.Verb], ['exited', 'cancelled', 'stop'])
})

test('what cannot be started: start-failed, with the reason', async () => {
  assert.equal((await daemon.docker(['run', '--name', 'wrong', 'busybox', 'no-such-program'])).code, 127)
  const end = await lastEnd(daemon, 'wrong')
  assert.deepEqual([end.Cause, end.ExitCode, end.StartedAt], ['start-failed', 127, '0001-01-01T00:00:00Z'])
  assert.match(end.Detail ?? '', /no-such-program/)
  assert.deepEqual(end.Log, [])
})

test('the container whose processes it shared has ended: dependency', async () => {
  await sleeper('owner')
  await sleeper('guest', '--pid', 'container:owner')
  await docker('kill', 'owner')
  const end = await lastEnd(daemon, 'guest')
  assert.deepEqual([end.Cause, end.ExitCode], ['dependency', 137])
  assert.match(end.Detail ?? '', /its process namespace, container:/)
})

test('its monitor is lost: daemon', async () => {
  const id = await sleeper('lost', '--restart', 'on-failure')
  const monitor = monitorsOf(daemon.execRoot).find(found => found.id === id)
  process.kill(monitor?.pid ?? 0, 'SIGKILL')
  const end = await until('it runs again', async () => {
    const { Ends, Status } = await why(daemon, 'lost')
    return Ends.length === 1 && Status === 'running' ? Ends[0] : undefined
  })
  assert.deepEqual([end.Cause, end.ExitCode, end.Next?.Cause], ['daemon', 137, 'restart-policy'])
  assert.match(end.Detail ?? '', /monitor was lost/)
  await docker('rm', '-f', 'lost')
})

test('another boot: host-restart, and what brings it back', async () => {
  await sleeper('up', '--restart', 'always')
  await sleeper('down')
  await daemon.loseKernelObjects()
  boot = { BERTH_TEST_BOOT_ID: 'another' }
  await daemon.start({ env: boot })
  const down = await lastEnd(daemon, 'down')
  assert.deepEqual([down.Cause, down.ExitCode, down.Outcome.What], ['host-restart', 255, 'stayed'])
  const up = await until('it runs again', async () => {
    const { Ends, Status } = await why(daemon, 'up')
    return Status === 'running' ? Ends[0] : undefined
  })
  assert.deepEqual([up.Cause, up.Next?.Cause], ['host-restart', 'restart-policy'])
  await docker('rm', '-f', 'up', 'down')
  // All that was told before is still known.
  const { Ends } = await why(daemon, 'failing')
  assert.deepEqual([Ends.length, Ends[0]?.Outcome.What], [6, 'gave-up'])
})

test('without live-restore: daemon, by an orderly stop and by what a crash left', async () => {
  const strict = { env: boot, flags: ['--live-restore=false'] }
  await daemon.restart(strict)
  await sleeper('orderly', '--restart', 'unless-stopped', '--stop-timeout', '1')
  await daemon.kill('SIGTERM')
  await daemon.start(strict)
  const orderly = await until('it runs again', async () => {
    const { Ends, Status } = await why(daemon, 'orderly')
    return Status === 'running' ? Ends[0] : undefined
  })
  assert.deepEqual([orderly.Cause, orderly.Verb, orderly.Next?.Cause], ['daemon', 'stop', 'daemon-start'])
  assert.match(orderly.Detail ?? '', /live-restore is off/)
  await daemon.restart(strict)
  const survivor = await until('it runs again', async () => {
    const { Ends, Status } = await why(daemon, 'orderly')
    return Status === 'running' ? Ends.find(({ Verb }) => Verb === 'kill') : undefined
  })
  assert.deepEqual([survivor.Cause, survivor.Next?.Cause], ['daemon', 'restart-policy'])
  await docker('rm', '-f', 'orderly')
})

test('ten ends are kept, and bad requests are told', async () => {
  await docker('create', '--name', 'often', 'busybox', 'false')
  for (let count = 0; count < 12; count++) await daemon.docker(['start', '-a', 'often'])
  const { Ends } = await why(daemon, 'often')
  assert.equal(Ends.length, 10)
  assert.equal((await daemon.api('GET', '/berth/v1/containers/none/why')).status, 404)
  for (const query of ['ends=11', 'lines=-1', 'lines=x', 'format=html'])
    assert.equal((await daemon.api('GET', `/berth/v1/containers/often/why?${query}`)).status, 400, query)
})

test('a log that is kept nowhere is told as null', async () => {
  await run('mute', ['--log-driver', 'none'], 'echo', 'hello')
  assert.equal((await lastEnd(daemon, 'mute')).Log, null)
})
