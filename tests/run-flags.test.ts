import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { optionTable } from '../src/daemon/options.ts'
import { cgroupSupport } from '../src/linux/cgroupSupport.ts'
import { cgroupVersion } from '../src/linux/cgroups.ts'
import { blockDevice } from './harness/blockDevice.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { projectRoot } from './harness/images.ts'
import { until } from './harness/shell.ts'

/** Flags of the real client that no other test gives, and that none is forgotten. */

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)
const stderrOf = async (...args: string[]): Promise<string> => (await daemon.docker(args)).stderr

/** What the container's control group says, of a hierarchy of version 1 or of version 2. */
const group = (one: string, two: string): string => `cat /sys/fs/cgroup/${cgroupVersion === 1 ? one : two}`

test('every flag of the client, and every option of the daemon, is in a table and in a test', async () => {
  const tests = globSync(['tests/**/*.ts', 'src/**/*.test.ts'], { cwd: projectRoot })
    .map(file => readFileSync(path.join(projectRoot, file), 'utf8'))
    .join('\n')
  const table = readFileSync(path.join(projectRoot, 'docs/run-flags.md'), 'utf8')
  const missing: string[] = []
  for (const command of ['run', 'create', 'update', 'exec']) {
    const flags = (await docker(command, '--help')).matchAll(/^ +(?:-\w, +)?(--[\w-]+)/gm)
    for (const [, flag = ''] of flags) {
      if (!new RegExp(`${flag}['"= \`]`).test(tests)) missing.push(`${command} ${flag}: no test`)
      const inTable = table.includes(`${flag}\``) || table.includes(`${flag} `) || table.includes(`${flag}=`)
      if (!inTable && !/^--(health|help)/.test(flag) && (command === 'run' || command === 'create'))
        missing.push(`${command} ${flag}: not in docs/run-flags.md`)
    }
  }
  for (const { flag, key, state } of optionTable) {
    const used = (name: string): boolean => name !== '' && new RegExp(`['"-]${name}['"= :\`]`).test(tests)
    if ((state === 'works' || state === 'own') && !used(flag) && !used(key))
      missing.push(`berthd ${flag || key}: no test`)
  }
  assert.deepEqual(missing, [])
})

test('long names of short flags', async () => {
  assert.equal(
    await docker(
      ...['run', '--rm', '--quiet', '--env', 'WHO=me', '--workdir', '/tmp', '--volume', '/etc:/host:ro'],
      ...['busybox', 'sh', '-c', 'echo $WHO; pwd; test -e /host/passwd && echo mounted'],
    ),
    'me\n/tmp\nmounted',
  )
  const { stdout, stderr } = await daemon.docker(
    [
      'run',
      '--rm',
      '--interactive',
      '--attach',
      'stdin',
      '--attach',
      'stdout',
      'busybox',
      'sh',
      '-c',
      'cat; echo err >&2',
    ],
    { input: 'in\n' },
  )
  assert.deepEqual([stdout, stderr], ['in\n', ''])
  assert.equal(await docker('run', '--rm', '--tty', 'busybox', 'tty'), '/dev/pts/0\r')
  await docker(
    ...['run', '--detach', '--name', 'long', '--publish', '127.0.0.1:8123:80', '--detach-keys', 'ctrl-a,a'],
    ...['busybox', 'sleep', '1000'],
  )
  assert.equal(await docker('port', 'long'), '80/tcp -> 127.0.0.1:8123')
  assert.equal(
    await docker('exec', '--env', 'A=b', '--workdir', '/etc', 'long', 'sh', '-c', 'echo $A; pwd'),
    'b\n/etc',
  )
  assert.equal((await daemon.docker(['exec', '--interactive', 'long', 'cat'], { input: 'x' })).stdout, 'x')
  assert.equal(await docker('exec', '--tty', 'long', 'tty'), '/dev/pts/0\r')
  await docker('exec', '--detach', '--detach-keys', 'ctrl-a', 'long', 'touch', '/done')
  await until(
    'the detached exec ran',
    async () => (await daemon.docker(['exec', 'long', 'test', '-e', '/done'])).code === 0,
  )
  await docker('rm', '-f', 'long')
  await docker('run', '-d', '--name', 'all', '--expose', '81', '--publish-all', 'busybox', 'sleep', '1000')
  assert.match(await docker('port', 'all', '81'), /^0\.0\.0\.0:\d+/)
  await docker('rm', '-f', 'all')
})

test('signals of the client reach the container, unless --sig-proxy=false says no', async () => {
  const script = 'trap "echo got; exit 7" TERM; echo ready; while :; do sleep 0.1; done'
  const start = async (name: string, ...flags: string[]) => {
    const child = spawn(daemon.client, ['run', '--name', name, ...flags, 'busybox', 'sh', '-c', script], {
      env: { ...process.env, ...daemon.dockerEnv },
    })
    const ended = new Promise<number | null>(resolve => child.once('exit', resolve))
    await new Promise(resolve => child.stdout.once('data', resolve))
    child.kill('SIGTERM')
    return ended
  }
  assert.equal(await start('proxied'), 7)
  await start('alone', '--sig-proxy=false')
  assert.equal(await docker('inspect', '-f', '{{.State.Status}}', 'alone'), 'running')
  await docker('rm', '-f', 'proxied', 'alone')
})

/** The client of 26.1 sends `--device-read-bps`, `--device-write-bps`, `--device-read-iops`, `--device-write-iops` as empty lists. */
test('rates of block devices', async () => {
  const names = ['read_bps', 'write_bps', 'read_iops', 'write_iops'].map(
    name => `blkio/blkio.throttle.${name}_device`,
  )
  const { Id: id } = await daemon.json<{ Id: string }>('POST', '/containers/create', {
    Image: 'busybox',
    Cmd: ['sh', '-c', `cd /sys/fs/cgroup; cat ${cgroupVersion === 1 ? names.join(' ') : 'io.max'}`],
    HostConfig: {
      BlkioDeviceReadBps: [{ Path: blockDevice.path, Rate: 1048576 }],
      BlkioDeviceWriteBps: [{ Path: blockDevice.path, Rate: 2097152 }],
      BlkioDeviceReadIOps: [{ Path: blockDevice.path, Rate: 30 }],
      BlkioDeviceWriteIOps: [{ Path: blockDevice.path, Rate: 40 }],
    },
  })
  assert.equal(
    await docker('start', '-a', id),
    cgroupVersion === 1
      ? [1048576, 2097152, 30, 40].map(rate => `${blockDevice.numbers} ${rate}`).join('\n')
      : `${blockDevice.numbers} rbps=1048576 wbps=2097152 riops=30 wiops=40`,
  )
})

/** The value in the control group, or the warning of a host that has no such thing. */
const eitherWay = async (
  flags: string[],
  wanted: { can: boolean; file: string; value: RegExp; warning: RegExp },
): Promise<void> => {
  const { code, stdout, stderr } = await daemon.docker([
    'run',
    '--rm',
    ...flags,
    'busybox',
    'sh',
    '-c',
    wanted.file,
  ])
  if (wanted.can) {
    assert.equal(code, 0, stderr)
    assert.match(stdout, wanted.value)
  } else assert.match(stderr, wanted.warning)
}

// Version 2 of control groups has weights from 1 to 10000, which Docker's are stretched to.
test('weights, swappiness and the switch of the OOM killer: as the host can, else a warning', async () => {
  const can = cgroupSupport()
  await eitherWay(['--blkio-weight', '300'], {
    can: can.blockWeight,
    file: group('blkio/blkio.weight', 'io.weight'),
    value: /^(300|default 29(29|30))$/m,
    warning: /Your kernel does not support Block I\/O weight/,
  })
  const weightDevice = ['--blkio-weight-device', `${blockDevice.path}:200`]
  if (cgroupVersion === 1)
    await eitherWay(weightDevice, {
      can: can.blockWeightDevice,
      file: group('blkio/blkio.weight_device', ''),
      value: new RegExp(`^${blockDevice.numbers} 200$`, 'm'),
      warning: /Your kernel does not support Block I\/O weight_device/,
    })
  else {
    // It needs the scheduler BFQ, which crun insists on and runc does without.
    const { code, stderr } = await daemon.docker(['run', '--rm', ...weightDevice, 'busybox', 'true'])
    if (code !== 0) assert.match(stderr, /io\.(bfq\.)?weight/)
  }
  await eitherWay(['-m', '64m', '--memory-swappiness', '30'], {
    can: can.swappiness,
    file: group('memory/memory.swappiness', 'memory.max'),
    value: /^30$/m,
    warning: /Your kernel does not support memory swappiness/,
  })
  await eitherWay(['-m', '64m', '--oom-kill-disable'], {
    can: can.oomKillDisable,
    file: group('memory/memory.oom_control', 'memory.max'),
    value: /^oom_kill_disable 1$/m,
    warning: /Your kernel does not support OomKillDisable/,
  })
  assert.equal(
    await docker(
      'run',
      '--rm',
      '--cpuset-mems',
      '0',
      'busybox',
      'sh',
      '-c',
      group('cpuset/cpuset.mems', 'cpuset.mems'),
    ),
    '0',
  )
})

test('weights and memory nodes of a running container can be changed', async () => {
  await docker('run', '-d', '--name', 'changed', 'busybox', 'sleep', '1000')
  await docker('update', '--cpuset-mems', '0', 'changed')
  assert.equal(await docker('inspect', '-f', '{{.HostConfig.CpusetMems}}', 'changed'), '0')
  const { code, stderr } = await daemon.docker(['update', '--blkio-weight', '400', 'changed'])
  assert.equal(code, 0, stderr)
  if (cgroupSupport().blockWeight)
    assert.match(
      await docker('exec', 'changed', 'sh', '-c', group('blkio/blkio.weight', 'io.weight')),
      /^(400|default 39(39|40))$/,
    )
  await docker('rm', '-f', 'changed')
})

test('what is of other systems, or of older kernels, is refused or left out as Docker does', async () => {
  assert.match(
    await stderrOf('create', '--isolation', 'hyperv', 'busybox'),
    /invalid isolation 'hyperv' on linux|invalid isolation \(hyperv\)/,
  )
  await docker('run', '--rm', '--isolation', 'default', 'busybox', 'true')
  for (const [flag, value] of [
    ['--io-maxbandwidth', '1m'],
    ['--io-maxiops', '5'],
    ['--cpu-count', '1'],
    ['--cpu-percent', '5'],
  ])
    assert.match(
      await stderrOf('create', flag as string, value as string, 'busybox'),
      /only supported on a Docker daemon running on windows/,
    )
  await docker('run', '--rm', '--disable-content-trust', 'busybox', 'true')
  await docker('run', '--rm', '--kernel-memory', '64m', 'busybox', 'true')
  assert.match(await stderrOf('create', '--userns', 'other', 'busybox'), /invalid USER mode/)
  assert.equal(await docker('run', '--rm', '--userns', 'host', 'busybox', 'id', '-u'), '0')
  await docker('network', 'create', 'four')
  assert.match(
    await stderrOf('run', '--rm', '--network', 'four', '--ip6', 'fd00::7', 'busybox', 'true'),
    /no configured subnet contains IP address fd00::7/,
  )
  await docker('network', 'rm', 'four')
  await docker('network', 'create', '--ipv6', '--subnet', 'fd00:6::/64', 'six')
  assert.match(
    await docker('run', '--rm', '--network', 'six', '--ip6', 'fd00:6::7', 'busybox', 'ip', '-6', 'addr'),
    /fd00:6::7\/64/,
  )
  await docker('network', 'rm', 'six')
})
