import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

/** `docker run --rm OPTIONS busybox sh -c SCRIPT`, which must succeed. */
const sh = (options: string[], script: string): Promise<string> =>
  daemon.mustDocker(['run', '--rm', ...options, 'busybox', 'sh', '-c', script])

test('environment, working directory, user and groups', async () => {
  assert.equal(await sh(['-e', 'A=b c', '-w', '/tmp/new'], 'echo "$A $PWD $HOME"'), 'b c /tmp/new /root')
  assert.equal(await sh(['-u', 'user'], 'id -u; id -g; id -G; echo $HOME'), '1000\n1000\n1000 29\n/home')
  assert.equal(
    await sh(['-u', '1234:29', '--group-add', 'nobody'], 'id -u; id -g; id -G'),
    '1234\n29\n29 65534',
  )
  const bad = await daemon.docker(['run', '--rm', '-u', 'ghost', 'busybox', 'true'])
  assert.equal(bad.code, 125)
  assert.match(bad.stderr, /unable to find user ghost: no matching entries in passwd file/)
})

test('entrypoint, command and exit codes', async () => {
  assert.equal(
    await daemon.mustDocker(['run', '--rm', '--entrypoint', '/bin/echo', 'busybox', 'x', 'y']),
    'x y',
  )
  for (const code of [0, 3, 255])
    assert.equal((await daemon.docker(['run', '--rm', 'busybox', 'sh', '-c', `exit ${code}`])).code, code)
  await daemon.mustDocker(['run', '-d', '--name', 'victim', 'busybox', 'sleep', '1000'])
  await daemon.mustDocker(['kill', '-s', 'KILL', 'victim'])
  assert.equal(await daemon.mustDocker(['wait', 'victim']), '137')
  assert.equal((await daemon.docker(['run', '--rm', 'busybox', 'no-such-program'])).code, 127)
  assert.equal((await daemon.docker(['run', '--rm', 'busybox', '/etc/passwd'])).code, 126)
  assert.equal((await daemon.docker(['run', '--rm', '127.0.0.1:9/no-such-image-here:1', 'true'])).code, 125)
})

test('hostname, domain, hosts and resolv.conf', async () => {
  assert.equal(
    await sh(['-h', 'box', '--domainname', 'example.org'], 'hostname; cat /etc/hostname'),
    'box\nbox',
  )
  const hosts = await sh(['--add-host', 'db:10.1.2.3', '--add-host', 'gw:host-gateway'], 'cat /etc/hosts')
  assert.match(hosts, /^10\.1\.2\.3\tdb$/m)
  assert.match(hosts, /^172\.\d+\.0\.1\tgw$/m)
  assert.match(
    await sh(
      ['--dns', '10.9.9.9', '--dns-search', 'corp.example', '--dns-option', 'ndots:2'],
      'cat /etc/resolv.conf',
    ),
    /nameserver 10\.9\.9\.9\nsearch corp\.example\noptions ndots:2/,
  )
})

test('bind mounts, tmpfs and read-only roots', async () => {
  const folder = path.join(daemon.base, 'bound')
  mkdirSync(folder)
  writeFileSync(path.join(folder, 'a'), 'from the host')
  assert.equal(await sh(['-v', `${folder}:/data`], 'cat /data/a; echo new > /data/b'), 'from the host')
  assert.equal(
    await sh(
      ['--mount', `type=bind,source=${folder},target=/data,readonly`],
      'cat /data/b; touch /data/c 2>&1 || true',
    ),
    'new\ntouch: /data/c: Read-only file system',
  )
  assert.match(
    await sh(['--tmpfs', '/scratch:size=1m', '--read-only'], 'mount | grep /scratch; touch /x 2>&1 || true'),
    /tmpfs on \/scratch .*size=1024k[\s\S]*Read-only file system/,
  )
  const missing = await daemon.docker([
    'create',
    '--mount',
    'type=bind,source=/no/such/place,target=/x',
    'busybox',
    'true',
  ])
  assert.equal(missing.code, 1)
  assert.match(
    missing.stderr,
    /invalid mount config for type "bind": bind source path does not exist: \/no\/such\/place/,
  )
})

test('limits reach the control groups', async () => {
  const read =
    'for f in memory/memory.limit_in_bytes memory/memory.soft_limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us cpu/cpu.shares cpuset/cpuset.cpus; do cat /sys/fs/cgroup/$f; done'
  // With systemd crun gives the group below the scope fewer: what the scope has holds for it too.
  const v2 =
    'for f in memory.max memory.low pids.max cpu.max cpu.weight cpuset.cpus; do cat /sys/fs/cgroup/$f; done; cat /sys/fs/cgroup/memory.swap.max'
  const options = [
    '-m',
    '64m',
    '--memory-swap',
    '96m',
    '--memory-reservation',
    '32m',
    '--pids-limit',
    '50',
    '--cpus',
    '0.5',
    '--cpu-shares',
    '512',
    '--cpuset-cpus',
    '0',
  ]
  const out = await sh(options, `if [ -d /sys/fs/cgroup/memory ]; then ${read}; else ${v2}; fi`)
  assert.match(out, /^67108864\n33554432\n50\n(50000\n512\n0|50000 100000\n\d+\n0\n33554432)$/)
  assert.equal(
    await sh(['--ulimit', 'nofile=100:200', '--ulimit', 'core=0'], 'ulimit -n; ulimit -Hn; ulimit -c'),
    '100\n200\n0',
  )
  assert.match(await sh(['--shm-size', '32m'], 'df -k /dev/shm | tail -1'), /32768/)
})

test('an out-of-memory kill is told', async () => {
  const result = await daemon.docker([
    'run',
    '--name',
    'hungry',
    '-m',
    '16m',
    '--memory-swap',
    '16m',
    'busybox',
    'sh',
    '-c',
    'x=a; while true; do x=$x$x; done',
  ])
  assert.equal(result.code, 137)
  assert.equal(await daemon.mustDocker(['inspect', '-f', '{{.State.OOMKilled}}', 'hungry']), 'true')
  const events = await daemon.mustDocker(
    // `0s` would be the second that has begun, before the kill.
    `events --since 0 --until ${Math.ceil(Date.now() / 1000)} --filter container=hungry --filter event=oom`.split(
      ' ',
    ),
  )
  assert.equal(events.split('\n').length, 1)
  assert.match(events, /container oom/)
})

test('capabilities, seccomp, privileges and hidden paths', async () => {
  const caps = async (...options: string[]): Promise<bigint> =>
    BigInt(`0x${await sh(options, "grep CapBnd /proc/self/status | awk '{print $2}'")}`)
  const bit = (number: number): bigint => 1n << BigInt(number)
  assert.equal(await caps(), 0xa80425fbn)
  assert.equal((await caps('--cap-drop', 'ALL')).toString(), '0')
  assert.equal(await caps('--cap-drop', 'ALL', '--cap-add', 'NET_ADMIN'), bit(12))
  assert.equal(await sh([], 'grep Seccomp: /proc/self/status'), 'Seccomp:\t2')
  assert.equal(
    await sh(['--security-opt', 'seccomp=unconfined'], 'grep Seccomp: /proc/self/status'),
    'Seccomp:\t0',
  )
  assert.equal(
    await sh(['--security-opt', 'no-new-privileges'], 'grep NoNewPrivs /proc/self/status'),
    'NoNewPrivs:\t1',
  )
  assert.match(
    await sh([], 'mount -t tmpfs x /tmp 2>&1 || true'),
    /permission denied|Operation not permitted/i,
  )
  assert.equal(await sh(['--privileged'], 'mount -t tmpfs x /tmp && echo mounted'), 'mounted')
  assert.equal(
    await sh(
      [],
      'cat /proc/kcore | head -c 1 | wc -c; echo 1 > /proc/sys/kernel/sysrq 2>/dev/null || echo refused',
    ),
    '0\nrefused',
  )
  assert.equal(
    await sh(
      ['--sysctl', 'net.ipv4.ip_forward=0'],
      'cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/ip_unprivileged_port_start',
    ),
    '0\n0',
  )
  assert.match(
    (await daemon.docker(['run', '--rm', '--cap-add', 'NONSENSE', 'busybox', 'true'])).stderr,
    /unknown capability: "CAP_NONSENSE"/,
  )
})

test('namespaces are private, shared with the host, or with another container', async () => {
  await daemon.mustDocker(['run', '-d', '--name', 'peer', '--ipc', 'shareable', 'busybox', 'sleep', '1000'])
  const ns = (kind: string, ...options: string[]): Promise<string> =>
    sh(options, `readlink /proc/self/ns/${kind}`)
  const peer = (kind: string): Promise<string> =>
    daemon.mustDocker(['exec', 'peer', 'readlink', `/proc/self/ns/${kind}`])
  assert.equal(await ns('net', '--network', 'container:peer'), await peer('net'))
  assert.equal(await ns('pid', '--pid', 'container:peer'), await peer('pid'))
  assert.equal(await ns('ipc', '--ipc', 'container:peer'), await peer('ipc'))
  assert.notEqual(await ns('net'), await peer('net'))
  const hostNet = (await daemon.onHost(['readlink', '/proc/self/ns/net'])).stdout.trim()
  assert.equal(await ns('net', '--network', 'host'), hostNet)
  assert.equal(
    await ns('pid', '--pid', 'host'),
    (await daemon.onHost(['readlink', '/proc/self/ns/pid'])).stdout.trim(),
  )
  assert.equal(await sh(['--network', 'none'], 'ip -o addr | grep -vc " lo "; true'), '0')
  await daemon.mustDocker(['exec', 'peer', 'sh', '-c', 'echo shared > /dev/shm/x'])
  assert.equal(await sh(['--ipc', 'container:peer'], 'cat /dev/shm/x'), 'shared')
  await daemon.mustDocker(['rm', '-f', 'peer'])
})

test('an init process reaps, and signals reach its child', async () => {
  assert.match(await sh(['--init'], 'cat /proc/1/cmdline | tr "\\0" " "'), /docker-init -- sh -c/)
  assert.equal((await daemon.docker(['run', '--rm', '--init', 'busybox', 'sh', '-c', 'exit 12'])).code, 12)
})

test('an anonymous volume of the image is filled from it and removed with --rm', async () => {
  const { dockerArchive, directory, file } = await import('./harness/images.ts')
  const { busyboxLayer } = await import('./harness/images.ts')
  const archive = await dockerArchive([
    {
      tags: ['with-volume:1'],
      layers: [busyboxLayer(), [directory('data', 0o750), file('data/seed', 'seed\n')]],
      config: { Volumes: { '/data': {} } },
    },
  ])
  await daemon.mustDocker(['load', '-q'], { input: archive })
  assert.equal(
    await daemon.mustDocker([
      'run',
      '--rm',
      'with-volume:1',
      'sh',
      '-c',
      'cat /data/seed; stat -c %a /data; mount | grep -c " /data "',
    ]),
    'seed\n750\n1',
  )
  const { stdout } = await daemon.onHost(['ls', path.join(daemon.dataRoot, 'volumes')])
  assert.equal(stdout, '')
})
