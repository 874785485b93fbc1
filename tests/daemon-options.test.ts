import assert from 'node:assert/strict'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon, withDaemon } from './harness/daemon.ts'
import { ImageRegistry } from './harness/imageRegistry.ts'
import { projectRoot } from './harness/images.ts'
import { remappedUsers } from './harness/remappedUsers.ts'
import { must, run, until } from './harness/shell.ts'

const berthd = path.join(projectRoot, 'bin/berthd')
let folder: string
let daemon: TestDaemon
before(async () => {
  folder = mkdtempSync('/tmp/berth-options-')
  daemon = await startDaemon({
    flags: [
      '--bip',
      '10.77.1.1/24',
      '--fixed-cidr',
      '10.77.1.128/25',
      '--label',
      'zone=a',
      '--log-opt',
      'max-size=1m',
      '--init',
      '--mtu',
      '1400',
    ],
  })
  await daemon.loadBusybox()
})
after(async () => {
  await daemon.close()
  rmSync(folder, { recursive: true, force: true })
})

const config = (content: string): string => {
  const file = path.join(folder, `${Math.random()}.json`)
  writeFileSync(file, content)
  return file
}

const refused = async (args: string[], words: RegExp): Promise<void> => {
  const { code, stderr } = await run([berthd, '--validate', ...args])
  assert.equal(code, 1, stderr)
  assert.match(stderr, words)
}

test('wrong flags and files are refused with their name', async () => {
  await refused(['--nonsense'], /unknown flag: --nonsense/)
  await refused(['--debug=perhaps'], /invalid argument "perhaps" for "--debug" flag/)
  await refused(
    ['--config-file', path.join(folder, 'absent')],
    /unable to configure the daemon with file .*absent/,
  )
  await refused(['--config-file', config('{')], /unable to configure the daemon with file/)
  await refused(
    ['--config-file', config('{"nonsense": 1}')],
    /the following directives don't match any configuration option: nonsense/,
  )
  await refused(['--config-file', config('{"debug": "yes"}')], /debug must be a bool/)
  await refused(
    ['-D', '--config-file', config('{"debug": true}')],
    /specified both as a flag and in the configuration file: debug: \(from flag: true, from file: true\)/,
  )
  await refused(
    ['--label', 'a=b', '--config-file', config('{"labels": ["c=d"]}')],
    /specified both as a flag and in the configuration file: labels: \(from flag: \["a=b"\], from file: \["c=d"\]\)/,
  )
  await refused(['-b', 'x0', '--bip', '10.0.0.1/24'], /-b & --bip, mutually exclusive/)
  await refused(['--default-stop-timeout', '-1'], /invalid default stop timeout: -1/)
  await refused(['--label', 'novalue'], /bad attribute format: novalue/)
  await refused(['--label', 'a=b', '--label', 'a=c'], /conflict labels for a=c and a=b/)
  await refused(['--mtu', '-5'], /invalid default MTU: -5/)
  await refused(['--dns', 'x'], /invalid value "x" for dns: not an IP address/)
  await refused(['--dns-search', '..'], /\.\. is not a valid domain/)
  await refused(['--ip', 'x'], /invalid value "x" for ip: not an IP address/)
  await refused(['--default-address-pool', 'base=10.0.0.0/8'], /invalid default address pool/)
  await refused(['--default-ulimit', 'nofile=x'], /invalid default ulimit nofile=x/)
  await refused(['--default-ipc-mode', 'host'], /invalid value "host" for default-ipc-mode/)
  await refused(['--exec-opt', 'x=y'], /invalid exec option: x/)
  await refused(['--add-runtime', 'runc=/x'], /runtime name 'runc' is reserved/)
  await refused(['-H', 'nonsense'], /invalid bind address format: nonsense/)
  await refused(['--log-driver', 'nonsense'], /no log driver named 'nonsense'/)
  await refused(['--storage-opt', 'overlay2.size'], /unable to parse storage-opt key\/value: overlay2\.size/)
  await refused(['--storage-opt', 'dm.basesize=1g'], /overlay2: unknown option dm\.basesize/)
  await refused(['--storage-opt', 'overlay2.size=much'], /invalid size: 'much'/)
})

test('help and version are printed without a daemon', async () => {
  const help = await run([berthd, '--help'])
  assert.equal(help.code, 0)
  assert.match(help.stdout, /^Usage: berthd \[OPTIONS\][\s\S]*-H, --host list[\s\S]*--live-restore/)
  assert.match((await run([berthd, '-v'])).stdout, /^Berth version \d/)
})

test('a daemon.json as it stands on many machines is accepted', async () => {
  const file = config(
    `\ufeff${JSON.stringify({
      'default-ulimits': { nofile: { Name: 'nofile', Hard: 64000, Soft: 64000 } },
      'default-address-pools': [{ base: '10.0.0.0/8', size: 24 }],
      'registry-mirrors': ['https://mirror.example'],
      'exec-opts': ['native.cgroupdriver=cgroupfs'],
      'storage-driver': 'overlay2',
      'userland-proxy': false,
      features: { buildkit: true },
      builder: { gc: { enabled: true } },
      runtimes: { other: { path: '/usr/bin/crun', runtimeArgs: ['--debug'] } },
      'host-gateway-ips': ['10.1.1.1'],
    })}`,
  )
  assert.equal((await run([berthd, '--validate', '--config-file', file])).stdout, 'configuration OK\n')
})

test('what would weaken security is refused, the rest accepted', async () => {
  for (const flag of ['--rootless'])
    await refused([flag], /is not supported by this version of Berth, and ignoring it would weaken security/)
  const { code, stdout } = await run([
    berthd,
    '--validate',
    '--tls=false',
    '--icc=true',
    '--userland-proxy=false',
    '--config-file',
    config('{"labels":["a=b"],"log-opts":{"max-size":"1m"}}'),
  ])
  assert.deepEqual([code, stdout], [0, 'configuration OK\n'])
})

test('who has no subordinate ids, or is not there, is nobody to map users to', async () => {
  using users = remappedUsers()
  const started = async (value: string, env: Record<string, string> = {}): Promise<string> => {
    const roots = ['--data-root', path.join(folder, 'mapped'), '--exec-root', path.join(folder, 'exec')]
    const { code, stderr } = await run(
      [berthd, ...roots, '--config-file', config('{}'), `--userns-remap=${value}`],
      { env: { ...users.env, ...env } },
    )
    assert.equal(code, 1, stderr)
    return stderr
  }
  const words: [value: string, words: RegExp][] = [
    ['a:b:c', /Invalid user\/group specification in --userns-remap: "a:b:c"/],
    [
      'absent',
      /Error during uid lookup for "absent": getent unable to find entry "absent" in passwd database/,
    ],
    ['99999', /Uid 99999 has no entry in \/etc\/passwd: getent unable to find entry/],
    ['mapped:absent', /Error during groupname lookup for "absent": getent unable to find entry/],
    ['mapped:99999', /Gid 99999 has no entry in \/etc\/passwd: getent unable to find entry/],
    ['none', /error creating ID mappings: no subuid ranges found for user "none"/],
  ]
  for (const [value, said] of words) assert.match(await started(value), said, value)
  const tools = path.join(folder, 'tools')
  mkdirSync(tools)
  for (const tool of ['sh', 'uname', 'dirname', 'readlink'])
    symlinkSync((await must(['which', tool])).trim(), path.join(tools, tool))
  assert.match(
    await started('default', { PATH: tools }),
    /Error during "dockremap" user creation: cannot add user; no useradd\/adduser binary found/,
  )
  assert.match(
    await started('mapped'),
    /the folder \/tmp\/berth-options-\w+, .* restricts access to the remapped root uid\/gid 200000:300000/,
  )
  rmSync(path.join(users.folder, 'subgid'))
  assert.match(await started('mapped'), /open .*subgid: no such file or directory/)
  // As dockerd has it, only a start looks for them.
  const checked = await run([berthd, '--validate', '--config-file', config('{"userns-remap": "absent"}')])
  assert.equal(checked.stdout, 'configuration OK\n')
})

test('TCP without TLS is served on loopback only', async () => {
  const { code, stderr } = await run([
    berthd,
    '--data-root',
    path.join(folder, 'd'),
    '--exec-root',
    path.join(folder, 'e'),
    '-H',
    'tcp://0.0.0.0:2375',
  ])
  assert.equal(code, 1)
  assert.match(stderr, /refusing to listen on tcp:\/\/0\.0\.0\.0:2375/)
})

test('a second daemon on the same data root says who holds it', async () => {
  const { code, stderr } = await run([
    berthd,
    '--data-root',
    daemon.dataRoot,
    '--exec-root',
    path.join(folder, 'x'),
    '-H',
    `unix://${folder}/s`,
  ])
  assert.equal(code, 1)
  assert.match(
    stderr,
    new RegExp(`the data root ${daemon.dataRoot} is in use by berthd with process id \\d+`),
  )
})

test('the options of the bridge, containers and info take effect', async () => {
  assert.match(
    await daemon.mustDocker(['network', 'inspect', '-f', '{{json .IPAM.Config}}', 'bridge']),
    /10\.77\.1\.0\/24.*10\.77\.1\.1/,
  )
  const address = await daemon.mustDocker([
    'run',
    '--rm',
    'busybox',
    'sh',
    '-c',
    "ip -o -4 addr show eth0 | awk '{print $4}'; cat /sys/class/net/eth0/mtu; cat /proc/1/cmdline | tr '\\0' ' '",
  ])
  assert.match(address, /^10\.77\.1\.(12[89]|1[3-9]\d|2\d\d)\/24\n1400\n\/sbin\/docker-init -- sh/)
  assert.equal(await daemon.mustDocker(['info', '-f', '{{json .Labels}}']), '["zone=a"]')
  await daemon.mustDocker(['create', '--name', 'logopts', 'busybox', 'true'])
  assert.equal(
    await daemon.mustDocker(['inspect', '-f', '{{json .HostConfig.LogConfig}}', 'logopts']),
    '{"Type":"json-file","Config":{"max-size":"1m"}}',
  )
})

test('SIGHUP reads daemon.json again, and a wrong one changes nothing', async () => {
  const file = path.join(daemon.base, 'daemon.json')
  writeFileSync(file, '{"shutdown-timeout": 7, "debug": true, "default-shm-size": "32M"}')
  process.kill(daemon.pid, 'SIGHUP')
  await until('the reload', () => daemon.log.includes('configuration reloaded'))
  assert.equal(await daemon.mustDocker(['info', '-f', '{{.Debug}}']), 'true')
  const { text } = await daemon.api('GET', `/events?since=0&until=${Date.now() / 1000 + 0.1}`)
  assert.match(text, /"Action":"reload".*"default-shm-size":"33554432".*"shutdown-timeout":"7"/)
  await daemon.mustDocker(['create', '--name', 'after-reload', 'busybox'])
  assert.equal(
    await daemon.mustDocker(['inspect', '-f', '{{.HostConfig.ShmSize}}', 'after-reload']),
    '33554432',
  )
  writeFileSync(file, '{"debug": 7}')
  process.kill(daemon.pid, 'SIGHUP')
  await until('the refusal', () => daemon.log.includes('configuration not reloaded'))
  assert.equal(await daemon.mustDocker(['info', '-f', '{{.Debug}}']), 'true')
  writeFileSync(file, '{}')
})

const reloaded = async (content: object): Promise<void> => {
  const before = daemon.log.split('configuration reloaded').length
  writeFileSync(path.join(daemon.base, 'daemon.json'), JSON.stringify(content))
  process.kill(daemon.pid, 'SIGHUP')
  await until('the reload', () => daemon.log.split('configuration reloaded').length > before)
}

test('a reload changes mirrors and the stop time-out, and names what waits for the next start', async () => {
  await using mirror = await ImageRegistry.start(daemon.namespace)
  await mirror.serve({ repository: 'library/mirrored', tag: 'latest', which: 'the mirror' })
  assert.notEqual((await daemon.docker(['pull', '-q', 'mirrored'])).code, 0)
  await reloaded({
    'registry-mirrors': [`http://${mirror.address}`],
    'insecure-registries': ['named.example:5000'],
    'default-stop-timeout': 0,
    'max-concurrent-uploads': 2,
    ip: '127.0.0.1',
  })
  assert.equal(await daemon.mustDocker(['pull', '-q', 'mirrored']), 'docker.io/library/mirrored:latest')
  assert.equal(
    await daemon.mustDocker(['info', '-f', '{{json .RegistryConfig.Mirrors}}']),
    `["http://${mirror.address}/"]`,
  )
  assert.match(daemon.log, /changed options that count at the next start only" options=ip/)
  await daemon.mustDocker(['run', '-d', '--name', 'deaf', 'busybox', 'sh', '-c', 'trap "" TERM; sleep 1000'])
  await daemon.mustDocker(['stop', 'deaf'])
  const { text } = await daemon.api('GET', `/events?since=0&until=${Date.now() / 1000 + 0.1}`)
  assert.match(
    text,
    /"Action":"reload".*"default-stop-timeout":"0".*"insecure-registries":"\[\\"named.example.*"max-concurrent-uploads":"2"/,
  )
  const signals = [...text.matchAll(/"Action":"kill".*?"signal":"(\d+)".*?"time":(\d+)/g)].map(
    match => match[1],
  )
  assert.deepEqual(signals, ['15', '9'])
  await reloaded({})
})

test('what containers may do is the daemon’s default where they say nothing of it', async () => {
  const profile = path.join(daemon.base, 'no-folders.json')
  writeFileSync(
    profile,
    JSON.stringify({
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO' }],
    }),
  )
  const strict = await startDaemon({ flags: ['--no-new-privileges', '--seccomp-profile', profile] })
  try {
    await strict.loadBusybox()
    const shown = (...more: string[]): Promise<string> =>
      strict.mustDocker(
        ['run', '--rm', ...more, 'busybox', 'sh', '-c'].concat(
          'grep -c "NoNewPrivs:.*1" /proc/self/status; mkdir /x 2>/dev/null && echo made; true',
        ),
      )
    assert.equal(await shown(), '1')
    assert.equal(await shown('--security-opt', 'no-new-privileges=false'), '0')
    assert.equal(await shown('--security-opt', 'seccomp=unconfined'), '1\nmade')
    const info = await strict.mustDocker(['info', '-f', '{{json .SecurityOptions}}'])
    assert.match(info, /"name=seccomp,profile=.*no-folders\.json"/)
    assert.match(info, /"name=no-new-privileges"/)
  } finally {
    await strict.close()
  }
})

test('the daemon’s own log: its form and its least grave level', () =>
  withDaemon({ flags: ['--log-format', 'json', '--log-level', 'debug'] }, async daemon => {
    const lines = daemon.log.trim().split('\n').filter(Boolean)
    const levels = new Set(lines.map(line => (JSON.parse(line) as { level: string }).level))
    assert.ok(levels.has('info') && levels.has('debug'), [...levels].join())
    await daemon.restart({ flags: ['--log-format', 'text', '--log-level', 'error'] })
    assert.equal(daemon.log.trim().split('\n').length, lines.length)
  }))

test('features are switched off: clients are told of the classic builder, and there is no CDI', () =>
  withDaemon({ flags: ['--feature', 'cdi=false', '--feature', 'buildkit=0'] }, async daemon => {
    const ping = (): Promise<string> =>
      must(['curl', '-sI', '--unix-socket', daemon.socket, 'http://docker/_ping'])
    assert.match(await ping(), /^Builder-Version: 1\r?$/m)
    await daemon.loadBusybox()
    const device = await daemon.docker(['run', '--device', 'vendor.com/kind=one', 'busybox', 'true'])
    assert.match(device.stderr, /could not select device driver "cdi"/)
    await daemon.restart({ flags: ['--feature', 'buildkit', '--feature', 'containerd-snapshotter'] })
    assert.match(await ping(), /^Builder-Version: 2\r?$/m)
    assert.match(daemon.log, /the feature containerd-snapshotter has no effect/)
  }))

test('forwarding is left as it is, the control group is private, the init is the user’s', () => {
  const init = path.join(folder, 'own-init')
  copyFileSync(path.join(projectRoot, 'build/berth-monitor'), init)
  const flags = ['--ip-forward=false', '--default-cgroupns-mode', 'private', '--init-path', init]
  return withDaemon({ flags }, async daemon => {
    assert.equal((await daemon.onHost(['cat', '/proc/sys/net/ipv4/ip_forward'])).stdout, '0\n')
    const shown = await daemon.mustDocker([
      ...['run', '--name', 'own', '--init', 'busybox', 'sh', '-c'],
      'cat /proc/self/cgroup; grep docker-init /proc/self/mountinfo',
    ])
    assert.match(shown, /^\d+:[^:]*:\/$/m)
    // Its path is told from the root of its file system, which may be that of /tmp.
    assert.ok(shown.includes(`${path.relative(path.dirname(folder), init)} /sbin/docker-init `), shown)
    assert.equal(await daemon.mustDocker(['inspect', '-f', '{{.HostConfig.CgroupnsMode}}', 'own']), 'private')
  })
})
