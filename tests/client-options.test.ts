import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { removeGroup } from '../src/linux/cgroups.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { until } from './harness/shell.ts'

let daemon: TestDaemon
const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)
const stderrOf = async (...args: string[]): Promise<string> => (await daemon.docker(args)).stderr
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(async () => {
  await daemon.close()
  // A parent of the user's own is the user's to remove.
  removeGroup(`/${daemon.name}-own`)
})

test('files of environment, labels and id; annotations', async () => {
  const file = (name: string, text: string): string => {
    const full = path.join(daemon.base, name)
    writeFileSync(full, text)
    return full
  }
  const env = await daemon.mustDocker(
    ['run', '--rm', '--env-file', file('env', 'A=1\n# no\nB\n'), 'busybox', 'sh', '-c', 'echo "$A $B"'],
    { env: { B: 'of the client' } },
  )
  assert.equal(env, '1 of the client')
  const id = await docker(
    ...['create', '--label-file', file('labels', 'l=v\n'), '--annotation', 'k=v'],
    ...['--cidfile', path.join(daemon.base, 'cid'), 'busybox'],
  )
  assert.equal(readFileSync(path.join(daemon.base, 'cid'), 'utf8'), id)
  assert.equal(
    await docker('inspect', '-f', '{{json .HostConfig.Annotations}} {{json .Config.Labels}}', id),
    '{"k":"v"} {"l":"v"}',
  )
})

test('--pull and --platform: what is here is used, what is not is told', async () => {
  assert.equal(await docker('run', '--rm', '--pull', 'missing', 'busybox', 'echo', 'here'), 'here')
  assert.equal(await docker('run', '--rm', '--platform', 'linux/amd64', 'busybox', 'echo', 'here'), 'here')
  assert.match(await stderrOf('run', '--pull', 'never', 'absent'), /No such image: absent:latest/)
  assert.match(
    await stderrOf('run', '--pull', 'always', '127.0.0.1:9/busybox'),
    /127\.0\.0\.1:9.*(connection refused|ECONNREFUSED)/i,
  )
  const { status, text } = await daemon.api('POST', '/containers/create?platform=linux/s390x', {
    Image: 'busybox',
  })
  assert.equal(status, 404)
  assert.match(text, /image with reference busybox was found but does not provide the specified platform/)
  await daemon.mustDocker(['import', '--platform', 'linux/s390x', '-', 'foreign:1'], {
    input: Buffer.alloc(1024),
  })
  assert.match(
    await stderrOf('create', 'foreign:1', '/program'),
    /The requested image's platform \(linux\/s390x\) does not match the detected host platform/,
  )
})

test('a name with dots, a domain, a MAC address, a group of the user’s own', async () => {
  const run = (...args: string[]): Promise<string> => docker('run', '--rm', ...args)
  assert.match(await run('-h', 'a.b.c', 'busybox', 'cat', '/etc/hosts'), /^172\.\S+\ta\.b\.c a$/m)
  assert.match(
    await run(
      '-h',
      'box',
      '--domainname',
      'd.e',
      'busybox',
      'sh',
      '-c',
      'hostname -f; cat /proc/sys/kernel/domainname',
    ),
    /^box\.d\.e\nd\.e$/,
  )
  const mac = '02:42:ac:11:00:99'
  assert.equal(await run('--mac-address', mac, 'busybox', 'cat', '/sys/class/net/eth0/address'), mac)
  const driver = await daemon.mustDocker(['info', '-f', '{{.CgroupDriver}}'])
  const parent = driver === 'systemd' ? `${daemon.name}own.slice` : `/${daemon.name}own`
  const own = ['--cgroup-parent', parent, '--cgroupns', 'host']
  assert.match(await run(...own, 'busybox', 'cat', '/proc/self/cgroup'), new RegExp(`/${daemon.name}own`))
})

test('ports: a range, one of a range, an ephemeral one, all that are exposed; a port in use names its holder', async () => {
  await docker(
    ...['run', '-d', '--name', 'ports', '-P', '--expose', '77', '-p', '9000-9003:80'],
    ...['-p', '127.0.0.1::81', '-p', '9100-9101:90-91', 'busybox', 'sleep', '1000'],
  )
  const shown = await docker('port', 'ports')
  assert.match(
    shown,
    /^77\/tcp -> 0\.0\.0\.0:\d+\n80\/tcp -> 0\.0\.0\.0:9000\n81\/tcp -> 127\.0\.0\.1:\d+\n90\/tcp -> 0\.0\.0\.0:9100\n91\/tcp -> 0\.0\.0\.0:9101$/,
  )
  await docker('run', '-d', '--name', 'more', '-p', '9000-9003:80', 'busybox', 'sleep', '1000')
  assert.equal(await docker('port', 'more', '80'), '0.0.0.0:9001')
  assert.match(
    await stderrOf('run', '--rm', '-p', '9100:1', 'busybox'),
    /Bind for 0\.0\.0\.0:9100 failed: port is already allocated \(by container ports\)/,
  )
  assert.match(
    await stderrOf('run', '--rm', '-p', '192.0.2.1:99:1', 'busybox'),
    /failed to bind host port for 192\.0\.2\.1:99\/tcp: cannot assign requested address/,
  )
})

interface Health {
  Status: string
  FailingStreak: number
  Log: { ExitCode: number; Output: string }[]
}
const health = (name: string): Promise<Health> =>
  daemon
    .json<{ State: { Health: Health } }>('GET', `/containers/${name}/json`)
    .then(({ State }) => State.Health)

test('health: failures in the start period do not count, five probes are kept, a slow probe has failed', async () => {
  await docker(
    ...['run', '-d', '--name', 'young', '--health-cmd', 'test -f /ok', '--health-start-period', '1h'],
    ...['--health-start-interval', '100ms', '--health-interval', '100ms', '--health-retries', '1'],
    ...['busybox', 'sleep', '1000'],
  )
  const early = await until('six probes', async () => {
    const state = await health('young')
    return state.Log.length === 5 && state
  })
  assert.deepEqual([early.Status, early.FailingStreak], ['starting', 0])
  await docker('exec', 'young', 'touch', '/ok')
  await until('healthy', async () => (await health('young')).Status === 'healthy')
  await docker('exec', 'young', 'rm', '/ok')
  await until('unhealthy', async () => (await health('young')).Status === 'unhealthy')
  await docker(
    ...['run', '-d', '--name', 'slow', '--health-cmd', 'sleep 1000', '--health-timeout', '200ms'],
    ...['--health-interval', '100ms', '--health-retries', '1', 'busybox', 'sleep', '1000'],
  )
  const late = await until('unhealthy', async () => {
    const state = await health('slow')
    return state.Status === 'unhealthy' && state
  })
  assert.equal(late.Log[0]?.ExitCode, -1)
  assert.match(late.Log[0]?.Output ?? '', /Health check exceeded timeout \(200ms\)/)
  await docker('create', '--name', 'unchecked', '--no-healthcheck', 'busybox')
  assert.equal(
    await docker('inspect', '-f', '{{json .Config.Healthcheck}}', 'unchecked'),
    '{"Test":["NONE"]}',
  )
})

test('a stop by the container’s own signal; a restart policy with a count', async () => {
  await docker(
    ...[
      'run',
      '-d',
      '--name',
      'polite',
      '--stop-signal',
      'SIGUSR1',
      '--stop-timeout',
      '60',
      'busybox',
      'sh',
      '-c',
    ],
    'trap "exit 5" USR1; echo ready; while :; do sleep 0.1; done',
  )
  await until('ready', async () => (await docker('logs', 'polite')) === 'ready')
  await docker('stop', 'polite')
  assert.equal(await docker('inspect', '-f', '{{.State.ExitCode}}', 'polite'), '5')
  await docker('run', '-d', '--name', 'twice', '--restart', 'on-failure:2', 'busybox', 'sh', '-c', 'exit 4')
  const state = '{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}'
  await until('both restarts', async () => (await docker('inspect', '-f', state, 'twice')) === '2 exited 4')
})

test('options that cannot be are refused in Docker’s words, and a log that is none cannot be read', async () => {
  const refused: [string[], RegExp][] = [
    [['--log-opt', 'nonsense=1'], /unknown log opt 'nonsense' for json-file log driver/],
    [['--log-opt', 'max-size=x'], /invalid size: 'x'/],
    [
      ['--log-opt', 'compress=true'],
      /compress cannot be true when max-file is less than 2 or max-size is not set/,
    ],
    [['--log-opt', 'max-size=1k', '--log-opt', 'max-file=0'], /max-file cannot be less than 1/],
    [['--log-driver', 'nonsense'], /logger: no log driver named 'nonsense' is registered/],
    [['--storage-opt', 'size=1G'], /--storage-opt is supported only for overlay over xfs with 'pquota'/],
    [['--log-driver', 'splunk'], /the log driver splunk .* is not implemented/],
  ]
  for (const [options, words] of refused) assert.match(await stderrOf('create', ...options, 'busybox'), words)
  await docker('run', '--name', 'silent', '--log-driver', 'none', 'busybox', 'echo', 'x')
  assert.match(await stderrOf('logs', 'silent'), /configured logging driver does not support reading/)
})
